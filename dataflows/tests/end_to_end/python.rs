//! What Python makes and checks: models with Keras, windows and scores recomputed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// A script of the tests.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end").join(name)
}

/// The Python environment with TensorFlow.
fn environment() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let link = package.with_file_name(".tideflow/venv");
    std::fs::read_link(&link).unwrap_or_else(|error| {
        panic!("no Python with TensorFlow at `{}` ({error}): run `make setup`", link.display())
    })
}

/// A program of that environment.
pub fn program(name: &str) -> PathBuf {
    environment().join("bin").join(name)
}

/// The folder of the training package.
fn training_package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("models/training")
}

/// Runs a script of the tests, which may use the training package: what it printed.
pub fn python(name: &str, args: &[&Path]) -> String {
    let mut command = Command::new(environment().join("bin/python"));
    ended_well(name, command.arg(script(name)).args(args))
}

/// Runs a command of the training package: what it printed.
pub fn training(args: &[&str]) -> String {
    let mut command = Command::new(environment().join("bin/python"));
    ended_well(args[0], command.args(["-m", "tideflow_training"]).args(args))
}

fn ended_well(name: &str, command: &mut Command) -> String {
    let run = command.env("PYTHONPATH", training_package()).output();
    let run = run.unwrap_or_else(|error| {
        panic!("`{:?}` does not start ({error}): run `make setup`", command.get_program())
    });
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{name} failed:\n{out}\n{err}");
    out.into_owned()
}

/// The folder that `make_models.py` filled, made again whenever the script or Python changes.
static MODELS: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    hash.update(std::fs::read(script("make_models.py")).expect("the script is with the tests"));
    hash.update(environment().as_os_str().as_encoded_bytes());
    let name = format!("models-{:.16}", format!("{:x}", hash.finalize()));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !target.exists() {
        let unfinished = target.with_extension(std::process::id().to_string());
        std::fs::create_dir_all(&unfinished).expect("the build folder can be written");
        python("make_models.py", &[&unfinished]);
        // Another test process may have been quicker.
        if std::fs::rename(&unfinished, &target).is_err() {
            assert!(target.exists(), "cannot rename to `{}`", target.display());
        }
    }
    target
});

/// A file or folder that `make_models.py` made.
pub fn model(name: &str) -> PathBuf {
    MODELS.join(name)
}
