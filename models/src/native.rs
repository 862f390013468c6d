//! Opening TensorFlow's native library: where it is, and how it is told to behave. The only file
//! with `unsafe`.
//!
//! The library reads its settings from the environment while it is being opened, and the
//! environment can only be changed safely while the process has one thread. So it is done before
//! `main`, in every program that contains this crate with feature `tensorflow`, and never touches a
//! variable that is set already.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tensorflow::library;

/// The file that is opened.
pub(crate) const FILE: &str = "libtensorflow.so";

/// Names the folder of [`FILE`]; read by `tensorflow-sys-runtime`.
pub(crate) const FOLDER_VARIABLE: &str = "TENSORFLOW_DIR";

const SETTINGS: [(&str, &str); 2] = [
    // Errors and warnings only.
    ("TF_CPP_MIN_LOG_LEVEL", "1"),
    // TensorFlow's default depends on the processor. With oneDNN a row's bits do not depend on its
    // place in the batch; with Eigen's kernels they do, for many widths and counts.
    ("TF_ENABLE_ONEDNN_OPTS", "1"),
];

/// Runs [`set_environment`] before `main`.
#[used]
#[cfg(target_os = "linux")]
// SAFETY: the section holds pointers to functions that the loader calls with (argc, argv, envp); a
// function without parameters may be called so in the C calling convention.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = set_environment;

extern "C" fn set_environment() {
    if !only_thread() {
        return;
    }
    let folder = folder_to_name();
    let folder = folder.as_deref().and_then(Path::to_str).map(|folder| (FOLDER_VARIABLE, folder));
    for (name, value) in SETTINGS.into_iter().chain(folder) {
        if env::var_os(name).is_none() {
            // SAFETY: this is unsound only while another thread reads or writes the environment.
            // There is none, and none can appear while the only one is here.
            unsafe { env::set_var(name, value) };
        }
    }
}

/// Whether this process has no other thread; where the system does not say, the answer is no.
fn only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// The folder that the variable should name, unless the library is found without it.
fn folder_to_name() -> Option<PathBuf> {
    if library::find().is_some() {
        return None;
    }
    own_folders().into_iter().find(|folder| folder.join(FILE).is_file())
}

/// Where the library is looked for beside the system's places: `lib` beside the program, then what
/// `make setup` made in the checkout around the program, or around the package that cargo runs. Not
/// around the current folder: what lies there should not decide what a program loads.
fn own_folders() -> Vec<PathBuf> {
    let program = env::current_exe().ok();
    let beside = program.as_deref().and_then(|path| Some(path.parent()?.join("lib")));
    // `cargo test` and `cargo run` may build far from the checkout, and say where the package is.
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let made = [program, package].into_iter().flatten().filter_map(|path| made_above(&path));
    let mut folders: Vec<_> = beside.into_iter().chain(made).collect();
    folders.dedup();
    folders
}

/// The library's folder in the nearest checkout above `path` for which `make setup` was run. Jobs keep
/// state and models in a `.tideflow` of the folder they are started in, which makes it no checkout.
fn made_above(path: &Path) -> Option<PathBuf> {
    path.ancestors().map(|folder| folder.join(".tideflow/native/lib")).find(|made| made.is_dir())
}

/// Why the library could not be opened.
pub(crate) enum OpenError {
    /// There is none in these folders, nor in the system's.
    Missing(Vec<PathBuf>),
    /// There is one, and it is of no use.
    Broken(String),
}

/// Opens the library, once a process. A few tenths of a second the first time.
pub(crate) fn open() -> Result<(), OpenError> {
    // Shows the linker that this file is needed even where it drops what nobody refers to.
    #[cfg(target_os = "linux")]
    std::hint::black_box(BEFORE_MAIN);
    static OPEN: Mutex<bool> = Mutex::new(false);
    let mut open = OPEN.lock().expect("no holder of this lock panics");
    if *open {
        return Ok(());
    }
    if library::find().is_none() {
        let named = env::var_os(FOLDER_VARIABLE).map(|folder| vec![PathBuf::from(folder)]);
        return Err(OpenError::Missing(named.unwrap_or_else(own_folders)));
    }
    library::load().map_err(OpenError::Broken)?;
    *open = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_checkout_above_a_program_is_its_own() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("deps/inner");
        for checkout in [outer.path(), &inner] {
            let expected = Some(checkout.join(".tideflow/native/lib"));
            std::fs::create_dir_all(checkout.join(".tideflow/native/lib")).unwrap();
            std::fs::create_dir_all(checkout.join("models/.tideflow/state")).unwrap();
            for path in ["target/release/program", "models", ""] {
                assert_eq!(made_above(&checkout.join(path)), expected, "{path}");
            }
        }
    }
}
