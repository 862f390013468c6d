//! Rows with the scores that a model gave where it was exported.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::{Manifest, Model, ModelLoadError, ScoreError};

/// `golden.json` in a model's folder: the rows of each input tensor and of each output, each row flat.
#[derive(Debug, Deserialize)]
struct Golden {
    rows: usize,
    inputs: BTreeMap<String, Vec<Vec<f64>>>,
    outputs: BTreeMap<String, Vec<Vec<f64>>>,
}

const FILE: &str = "golden.json";

/// How far a score may lie from the one recorded: another processor, or another build of the library,
/// rounds otherwise.
const ABSOLUTE: f64 = 1e-5;
const RELATIVE: f64 = 1e-4;

/// Scores the golden rows, where there are some, in batches as every call has them.
///
/// Fails where the file cannot be read or does not fit the manifest, and with [`ModelLoadError::Golden`] where a
/// score is another.
pub(crate) fn check(
    folder: &Path,
    manifest: &Manifest,
    model: &dyn Model,
) -> Result<(), ModelLoadError> {
    let path = folder.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ModelLoadError::Io { path, source }),
    };
    let golden: Golden = serde_json::from_slice(&text)
        .map_err(|source| ModelLoadError::Manifest { path: path.clone(), source })?;
    let inputs = manifest.inputs.iter().map(|i| (&i.tensor, i.features.len()));
    let outputs = manifest.outputs.iter().map(|o| (&o.tensor, o.names.len()));
    let unfit = |field, tensor: &str| ModelLoadError::ManifestValue {
        path: path.clone(),
        field,
        expected: format!("{} rows of tensor `{tensor}`, as the manifest has it", golden.rows),
        found: "others".to_string(),
    };
    let rows = golden.join(&golden.inputs, inputs).map_err(|t| unfit("inputs", t))?;
    let expected = golden.join(&golden.outputs, outputs).map_err(|t| unfit("outputs", t))?;
    let found = score(model, &rows)
        .map_err(|source| ModelLoadError::Score { path: path.clone(), source: Box::new(source) })?;
    let names = &model.signature().outputs;
    let same = |(found, expected): (f64, f64)| {
        (found - expected).abs() <= ABSOLUTE + RELATIVE * expected.abs()
    };
    match (0..expected.len()).find(|i| !same((found[*i], expected[*i]))) {
        None => Ok(()),
        Some(i) => Err(ModelLoadError::Golden {
            folder: folder.to_path_buf(),
            row: i / names.len(),
            output: names[i % names.len()].clone(),
            expected: expected[i],
            found: found[i],
        }),
    }
}

impl Golden {
    /// All rows one after the other, each of the tensors in order; or the tensor that does not fit.
    fn join<'a>(
        &self,
        of: &BTreeMap<String, Vec<Vec<f64>>>,
        tensors: impl Iterator<Item = (&'a String, usize)> + Clone,
    ) -> Result<Vec<f64>, &'a str> {
        for (tensor, width) in tensors.clone() {
            let rows = of.get(tensor).ok_or(tensor.as_str())?;
            if rows.len() != self.rows || rows.iter().any(|row| row.len() != width) {
                return Err(tensor);
            }
        }
        let row =
            |n: usize| tensors.clone().flat_map(move |(tensor, _)| of[tensor][n].iter().copied());
        Ok((0..self.rows).flat_map(row).collect())
    }
}

fn score(model: &dyn Model, rows: &[f64]) -> Result<Vec<f64>, ScoreError> {
    let signature = model.signature();
    let (width, count) = (signature.width(), signature.batch_rows);
    let (mut all, mut scores) = (Vec::new(), Vec::new());
    for batch in rows.chunks(count * width) {
        let mut padded = batch.to_vec();
        padded.resize(count * width, 0.0);
        model.score(&padded, count, &mut scores)?;
        all.extend(&scores[..batch.len() / width * signature.outputs.len()]);
    }
    Ok(all)
}
