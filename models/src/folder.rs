//! A model's folder: what must be in it, and the digest of all that is.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::ModelLoadError;

/// The digest of a model's folder: SHA-256, 64 hexadecimal digits, over every file below it.
///
/// Files come in the byte order of their paths relative to the folder, written with `/`. Each adds
/// the length of its path (8 bytes, little endian), its path, the length of its content (8 bytes,
/// little endian) and its content. Names, order and content count; times, permissions and empty
/// folders do not; links are followed.
///
/// Fails with [`ModelLoadError::Io`] where something cannot be read.
pub fn digest(folder: &Path) -> Result<String, ModelLoadError> {
    let mut files = Vec::new();
    collect_files(folder, "", &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update((file.len() as u64).to_le_bytes());
        hash.update(&file);
        let path = folder.join(&file);
        hash_content(&path, &mut hash).map_err(|source| ModelLoadError::Io { path, source })?;
    }
    Ok(format!("{:x}", hash.finalize()))
}

fn hash_content(path: &Path, hash: &mut Sha256) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    hash.update(file.metadata()?.len().to_le_bytes());
    let mut block = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(());
        }
        hash.update(&block[..read]);
    }
}

/// Adds the paths of all files below `folder`/`prefix`, relative to `folder`.
fn collect_files(
    folder: &Path,
    prefix: &str,
    files: &mut Vec<String>,
) -> Result<(), ModelLoadError> {
    for entry in entries(&folder.join(prefix))? {
        let relative = if prefix.is_empty() { entry } else { format!("{prefix}/{entry}") };
        let path = folder.join(&relative);
        let found = fs::metadata(&path).map_err(|source| ModelLoadError::Io { path, source })?;
        if found.is_dir() {
            collect_files(folder, &relative, files)?;
        } else {
            files.push(relative);
        }
    }
    Ok(())
}

/// The names in a folder, sorted. A name that is not UTF-8 is an error: it has no stable digest.
fn entries(folder: &Path) -> Result<Vec<String>, ModelLoadError> {
    let failed = |source| ModelLoadError::Io { path: folder.to_path_buf(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().into_string().map_err(|name| {
            failed(std::io::Error::other(format!("the name {name:?} in it is not UTF-8")))
        })?;
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// Checks that `folder` is one.
pub(crate) fn expect_folder(folder: &Path) -> Result<(), ModelLoadError> {
    let path = || PathBuf::from(folder);
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(ModelLoadError::NotAFolder { path: path() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ModelLoadError::FolderMissing { path: path() })
        }
        Err(source) => Err(ModelLoadError::Io { path: path(), source }),
    }
}

/// Checks that `file` (a file or a folder) is in a model's `folder`.
pub(crate) fn expect_file(folder: &Path, file: &'static str) -> Result<(), ModelLoadError> {
    let path = folder.join(file);
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(ModelLoadError::FileMissing {
            folder: folder.to_path_buf(),
            file,
            found: entries(folder)?,
        }),
        Err(source) => Err(ModelLoadError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn golden_the_digest_of_a_folder_never_changes() {
        let folder = folder(&[("variables/b", "2"), ("a", "1"), ("variables.index", "")]);
        // By hand: sha256 of 1,"a",1,"1", 15,"variables.index",0,"", 11,"variables/b",1,"2".
        assert_eq!(
            digest(folder.path()).unwrap(),
            "ade196770b30f382e0683f4fa2bd5a4f571dc92bac222ae65c4aa00cca4875c7"
        );
    }

    #[test]
    fn content_and_names_change_the_digest_and_empty_folders_do_not() {
        let of = |files: &[(&str, &str)]| digest(folder(files).path()).unwrap();
        let base = of(&[("a", "1"), ("b", "2")]);
        assert_ne!(base, of(&[("a", "1"), ("b", "3")]));
        assert_ne!(base, of(&[("a", "1"), ("c", "2")]));
        assert_ne!(base, of(&[("a", "1b2")]));
        let with_empty = folder(&[("b", "2"), ("a", "1")]);
        fs::create_dir(with_empty.path().join("empty")).unwrap();
        assert_eq!(base, digest(with_empty.path()).unwrap());
    }
}
