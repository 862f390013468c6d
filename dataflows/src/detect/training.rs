//! Has the training package make a model.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use xxhash_rust::xxh3::Xxh3;

use super::error::DetectError;
use super::graph::Method;

/// The checkout that holds the training package and its Python: around the current folder, around the program,
/// or around the package that cargo runs, which may build elsewhere.
fn checkout() -> Result<PathBuf, DetectError> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let places = [std::env::current_dir().ok(), std::env::current_exe().ok(), package];
    let mut around = places.iter().flatten().flat_map(|place| place.ancestors());
    let found = around.find(|folder| {
        folder.join(".tideflow/venv/bin/python").exists() && folder.join(PACKAGE).is_dir()
    });
    found.map(Path::to_path_buf).ok_or(DetectError::NoCheckout)
}

const PACKAGE: &str = "models/training";

/// A digest of the training package's sources: a model that another one made may be another.
///
/// # Errors
/// When there is no training package, or it cannot be read.
pub fn package_digest() -> Result<String, DetectError> {
    let mut files = Vec::new();
    let sources = checkout()?.join(PACKAGE).join("tideflow_training");
    collect(&sources, &mut files).map_err(DetectError::io("reading", &sources))?;
    files.sort();
    let mut digest = Xxh3::new();
    for file in files {
        let text = fs::read(&file).map_err(DetectError::io("reading", &file))?;
        digest.update(&text);
    }
    Ok(format!("{:016x}", digest.digest()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            files.push(path);
        }
    }
    Ok(())
}

/// Trains the model of a method, on a file of features where it learns from data, into the folder `out`.
///
/// # Errors
/// When there is no training package, or training fails: with what it said.
pub fn train<M: Method>(data: Option<&Path>, out: &Path) -> Result<(), DetectError> {
    let (checkout, recipe) = (checkout()?, M::RECIPE);
    let python = checkout.join(".tideflow/venv/bin/python");
    let mut command = Command::new(&python);
    command.env("PYTHONPATH", checkout.join(PACKAGE)).args(["-m", "tideflow_training", "train"]);
    command.arg(recipe).arg("--out").arg(out).args(M::TRAINING);
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    // A model that only serves these recordings is registered nowhere.
    command.env_remove("MLFLOW_TRACKING_URI");
    let ended = command.output().map_err(DetectError::io("training with", python))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr).trim().to_string();
    Err(DetectError::Training { recipe, said })
}
