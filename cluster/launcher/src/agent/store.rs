//! Content on a host, each once, and releases made of links to it.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::place::Place;
use super::{AgentError, at};
use crate::release::{Object, Release};
use crate::whole;

/// Releases that are kept, the current one among them.
const KEPT_MAX: usize = 5;
/// Bytes that stay free beside what is sent.
const SPARE: u64 = 64 << 20;

/// Digests of the objects that are not there.
pub(super) fn missing(place: &Place, objects: &[Object]) -> BTreeSet<String> {
    let objects = objects.iter().filter(|object| !path(place, object).exists());
    objects.map(|object| object.digest.clone()).collect()
}

/// Takes objects from a stream, one after the other. One that is not what it should be never gets its name.
pub(super) fn put(
    place: &Place,
    objects: &[Object],
    input: &mut impl Read,
) -> Result<(), AgentError> {
    let folder = place.at("objects");
    let what = || format!("storing a release in `{}`", folder.display());
    fs::create_dir_all(&folder).map_err(at(what()))?;
    // Settings and logs are nobody else's business. Somebody else's folder stays as it is.
    let _ = fs::set_permissions(&place.folder, Permissions::from_mode(0o700));
    let needed: u64 = objects.iter().map(|object| object.bytes).sum();
    let free = place.disk_free().map_err(at(what()))?;
    if needed + SPARE > free {
        return Err(AgentError::Found(format!(
            "{}: it needs {} MiB and {} MiB are free (make room, or set `place.folder` to a larger disk)",
            what(),
            (needed + SPARE) >> 20,
            free >> 20
        )));
    }
    for object in objects {
        let mut file = NamedTempFile::new_in(&folder).map_err(at(what()))?;
        let digest = copy(input, file.as_file_mut(), object.bytes).map_err(at(what()))?;
        if digest != object.digest {
            let why = format!("an object came as {digest}, expected {}", object.digest);
            return Err(AgentError::Found(why));
        }
        let mode = if object.executable { 0o555 } else { 0o444 };
        file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(at(what()))?;
        file.persist(path(place, object)).map_err(|e| at(what())(e.error))?;
    }
    whole::sync(&folder).map_err(at(what()))
}

fn copy(input: &mut impl Read, file: &mut File, bytes: u64) -> io::Result<String> {
    let (mut hash, mut left) = (Sha256::new(), bytes);
    let mut buffer = vec![0; 1 << 18];
    while left > 0 {
        let part = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = input.read(&mut buffer[..part])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hash.update(&buffer[..read]);
        file.write_all(&buffer[..read])?;
        left -= read as u64;
    }
    file.sync_all()?;
    Ok(format!("{:x}", hash.finalize()))
}

/// Lays out a release of objects that are there. What is there under this name stays.
pub(super) fn install(place: &Place, name: &str, release: &Release) -> Result<(), AgentError> {
    let target = place.release(name);
    if target.exists() {
        return Ok(());
    }
    let what = || format!("laying out the release `{name}`");
    let draft = place.release(&format!(".{name}"));
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(at(what()))?;
    }
    for (file, object) in &release.files {
        let link = draft.join(file);
        let folder = link.parent().unwrap_or(&draft);
        let linked =
            fs::create_dir_all(folder).and_then(|()| fs::hard_link(path(place, object), &link));
        linked.map_err(at(format!("{}, `{file}`", what())))?;
    }
    let text = serde_json::to_vec_pretty(release).expect("a release is JSON");
    fs::create_dir_all(&draft).map_err(at(what()))?;
    whole::write(&draft.join("release.json"), &text).map_err(at(what()))?;
    fs::rename(&draft, &target).map_err(at(what()))?;
    whole::sync(&place.at("releases")).map_err(at(what()))
}

/// Makes a release the current one, at once.
pub(super) fn switch(place: &Place, name: &str) -> Result<(), AgentError> {
    if !place.release(name).is_dir() {
        return Err(AgentError::Found(format!("there is no release `{name}`")));
    }
    let before = place.current().filter(|before| before != name);
    if let Some(before) = before {
        link(place, "previous", &before).map_err(at("remembering the release before"))?;
    }
    link(place, "current", name).map_err(at(format!("making `{name}` the current release")))
}

/// Makes a link to a release, in place of another at once.
fn link(place: &Place, name: &str, release: &str) -> io::Result<()> {
    let draft = place.at(&format!(".{name}"));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(Path::new("releases").join(release), &draft)?;
    fs::rename(&draft, place.at(name))?;
    whole::sync(&place.folder)
}

/// Removes releases beyond those that are kept, what no release has a link to, and agents of before.
pub(super) fn prune(place: &Place) -> Result<(), AgentError> {
    let what = || "removing old releases".to_string();
    let names = place.releases();
    let used = [place.current(), place.linked("previous")];
    let mut kept: Vec<_> = used.iter().flatten().collect();
    for name in names.iter().rev() {
        if kept.len() < KEPT_MAX && !kept.contains(&name) {
            kept.push(name);
        }
    }
    for name in names.iter().filter(|name| !kept.contains(name)) {
        fs::remove_dir_all(place.release(name)).map_err(at(what()))?;
    }
    for entry in fs::read_dir(place.at("objects")).into_iter().flatten().flatten() {
        let alone = entry.metadata().is_ok_and(|meta| meta.nlink() == 1);
        if alone {
            fs::remove_file(entry.path()).map_err(at(what()))?;
        }
    }
    let mut agents: Vec<_> = fs::read_dir(place.root.join("bin"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.mtime(), entry.path())))
        .collect();
    agents.sort();
    let own = std::env::current_exe().ok();
    let old = agents.iter().rev().skip(KEPT_MAX).map(|(_, path)| path);
    for path in old.filter(|path| Some(*path) != own.as_ref()) {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

fn path(place: &Place, object: &Object) -> std::path::PathBuf {
    place.at("objects").join(object.file_name())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::release::digest_of;

    fn object(content: &[u8], executable: bool) -> Object {
        Object { digest: digest_of(content), bytes: content.len() as u64, executable }
    }

    fn release(files: &[(&str, &Object)]) -> Release {
        Release {
            binary: "bin/g".into(),
            files: files.iter().map(|(path, object)| ((*path).into(), (*object).clone())).collect(),
            settings: BTreeMap::new(),
            graph: Value::Null,
        }
    }

    fn put_all(place: &Place, contents: &[(&[u8], bool)]) -> Vec<Object> {
        let objects: Vec<_> = contents.iter().map(|(bytes, x)| object(bytes, *x)).collect();
        let stream: Vec<u8> = contents.iter().flat_map(|(bytes, _)| bytes.to_vec()).collect();
        put(place, &objects, &mut stream.as_slice()).unwrap();
        objects
    }

    #[test]
    fn a_release_is_links_to_content_that_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(folder.path(), "j");
        let wanted = [object(b"program", true), object(b"settings", false)];
        assert_eq!(missing(&place, &wanted).len(), 2);
        let objects = put_all(&place, &[(b"program", true), (b"settings", false)]);
        assert!(missing(&place, &wanted).is_empty());
        let release = release(&[("bin/g", &objects[0]), ("a", &objects[1]), ("m/b", &objects[1])]);
        let name = release.name(1);
        install(&place, &name, &release).unwrap();
        install(&place, &name, &release).unwrap();
        switch(&place, &name).unwrap();
        switch(&place, &name).unwrap();
        assert_eq!((place.current(), place.linked("previous")), (Some(name.clone()), None));
        assert_eq!(place.manifest(&name), Some(release));
        let current = place.at("current");
        assert_eq!(fs::read(current.join("m/b")).unwrap(), b"settings");
        assert_eq!(fs::metadata(current.join("bin/g")).unwrap().mode() & 0o777, 0o555);
        assert_eq!(fs::metadata(current.join("a")).unwrap().nlink(), 3);
    }

    #[test]
    fn what_comes_damaged_or_short_is_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(folder.path(), "j");
        let wanted = object(b"content", false);
        for bytes in [&b"contenX"[..], b"cont"] {
            assert!(put(&place, std::slice::from_ref(&wanted), &mut &*bytes).is_err());
        }
        assert_eq!(fs::read_dir(place.at("objects")).unwrap().count(), 0);
        let huge = Object { bytes: u64::MAX >> 1, ..wanted };
        let full = put(&place, &[huge], &mut io::empty()).unwrap_err().to_string();
        assert!(full.contains("MiB are free (make room"), "{full}");
    }

    #[test]
    fn old_releases_go_with_what_only_they_had() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(folder.path(), "j");
        let mut names = Vec::new();
        for number in 1..=7_u64 {
            let content = format!("settings {number}");
            let objects = put_all(&place, &[(content.as_bytes(), false), (b"program", true)]);
            let release = release(&[("config.toml", &objects[0]), ("bin/g", &objects[1])]);
            names.push(release.name(number));
            install(&place, &names[names.len() - 1], &release).unwrap();
        }
        switch(&place, &names[1]).unwrap();
        switch(&place, &names[0]).unwrap();
        prune(&place).unwrap();
        let kept = [&names[0..2], &names[4..]].concat();
        assert_eq!(place.releases(), kept);
        assert_eq!(fs::read_dir(place.at("objects")).unwrap().count(), 1 + KEPT_MAX);
        assert!(switch(&place, &names[2]).unwrap_err().to_string().contains("no release"));
    }
}
