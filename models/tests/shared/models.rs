//! The models of the tests, made once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// The Python environment with TensorFlow.
fn environment() -> PathBuf {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".tideflow/venv");
    fs::read_link(&environment).unwrap_or_else(|error| {
        panic!(
            "no Python with TensorFlow at `{}` ({error}): run `make setup`",
            environment.display()
        )
    })
}

/// Its interpreter, with a script of the tests.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(environment().join("bin/python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script));
    command
}

/// The folder that `make_models.py` filled, made again whenever the script or Python changes.
pub static MODELS: LazyLock<PathBuf> = LazyLock::new(|| {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = package.join("tests/make_models.py");
    let mut hash = Sha256::new();
    hash.update(fs::read(&script).expect("the script is beside this file"));
    hash.update(environment().as_os_str().as_encoded_bytes());
    let name = format!("saved_models-{:.16}", format!("{:x}", hash.finalize()));

    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !target.exists() {
        let unfinished = target.with_extension(std::process::id().to_string());
        fs::create_dir_all(&unfinished).expect("the build folder can be written");
        let run = python("make_models.py").arg(&unfinished).output();
        let run =
            run.unwrap_or_else(|error| panic!("Python does not start ({error}): run `make setup`"));
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "make_models.py failed: {said}");
        // Another test process may have been quicker.
        if fs::rename(&unfinished, &target).is_err() {
            assert!(target.exists(), "cannot rename to `{}`", target.display());
        }
    }
    target
});
