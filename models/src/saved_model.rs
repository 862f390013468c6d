//! TensorFlow SavedModels.

use std::collections::HashMap;
use std::path::Path;

use tensorflow::{
    DataType, Graph, Operation, SavedModelBundle, Session, SessionOptions, SessionRunArgs, Shape,
    SignatureDef, Status, Tensor, TensorInfo,
};

use crate::folder::{digest, expect_file, expect_folder};
use crate::native::{self, OpenError};
use crate::{Manifest, Model, ModelLoadError, ScoreError, Signature};

const LIBRARY: &str = "TensorFlow";

/// A serialized `ConfigProto`: `intra_op_parallelism_threads` (field 2) is 1 and
/// `inter_op_parallelism_threads` (field 5) is -1, so that a batch is scored on the thread that asks.
/// With 1 all callers would share one thread, and hand over to it and back for every batch.
const SESSION_CONFIG: [u8; 13] =
    [0x10, 1, 0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];

/// A TensorFlow SavedModel with a [`Manifest`] beside it.
///
/// One native session, shared by all threads; each scores on its own thread.
pub struct TensorFlowModel {
    signature: Signature,
    manifest: Manifest,
    session: Session,
    input: Port,
    output: Port,
}

/// Where a tensor enters or leaves the graph.
struct Port {
    operation: Operation,
    index: i32,
}

impl TensorFlowModel {
    /// Loads the SavedModel in `folder` and checks that it is what its manifest says: the signature
    /// is there; it has one input, of the manifest's name, `float32`, any number of rows by one
    /// column a feature; it has an output of the manifest's name, `float32`, any number of rows by
    /// one column an output.
    ///
    /// Fails with any [`ModelLoadError`] but [`ModelLoadError::Features`] and
    /// [`ModelLoadError::BackendMissing`].
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, ModelLoadError> {
        let folder = folder.as_ref();
        expect_folder(folder)?;
        let manifest = Manifest::read(folder)?;
        expect_file(folder, "saved_model.pb")?;
        expect_file(folder, "variables")?;
        native::open().map_err(|error| not_open(folder, error))?;
        let native = |status: Status| ModelLoadError::Native {
            folder: folder.to_path_buf(),
            library: LIBRARY,
            source: status.into(),
        };

        let mut options = SessionOptions::new();
        options.set_config(&SESSION_CONFIG).map_err(native)?;
        let mut graph = Graph::new();
        let bundle =
            SavedModelBundle::load(&options, ["serve"], &mut graph, folder).map_err(native)?;
        let (input, output) = check(folder, &manifest, bundle.meta_graph_def().signatures())?;
        let port = |tensor: &TensorInfo| {
            let name = tensor.name();
            let operation = graph.operation_by_name_required(&name.name)?;
            Ok(Port { operation, index: name.index })
        };
        Ok(Self {
            signature: Signature {
                name: manifest.name.clone(),
                version: manifest.version.clone(),
                digest: digest(folder)?,
                features: manifest.features.clone(),
                outputs: manifest.outputs.clone(),
            },
            input: port(input).map_err(native)?,
            output: port(output).map_err(native)?,
            session: bundle.session,
            manifest,
        })
    }

    /// What its trainer wrote about it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn run(&self, rows: &[f32], count: usize) -> Result<Tensor<f32>, Status> {
        let mut tensor = Tensor::new(&[count as u64, self.signature.width() as u64]);
        tensor.copy_from_slice(rows);
        let mut step = SessionRunArgs::new();
        step.add_feed(&self.input.operation, self.input.index, &tensor);
        let token = step.request_fetch(&self.output.operation, self.output.index);
        self.session.run(&mut step)?;
        step.fetch(token)
    }
}

impl Model for TensorFlowModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn score(&self, rows: &[f32], count: usize, out: &mut Vec<f32>) -> Result<(), ScoreError> {
        out.clear();
        self.signature.check_rows(rows, count)?;
        if count == 0 {
            return Ok(());
        }
        let scores = self.run(rows, count).map_err(|status| ScoreError::Native {
            model: self.signature.name.clone(),
            count,
            library: LIBRARY,
            source: status.into(),
        })?;
        let expected = count * self.signature.outputs.len();
        if scores.len() != expected {
            let model = self.signature.name.clone();
            return Err(ScoreError::Scores { model, count, expected, found: scores.len() });
        }
        out.extend_from_slice(&scores);
        Ok(())
    }
}

fn not_open(folder: &Path, error: OpenError) -> ModelLoadError {
    let folder = folder.to_path_buf();
    match error {
        OpenError::Missing(looked_in) => ModelLoadError::LibraryMissing {
            folder,
            library: native::FILE,
            looked_in,
            variable: native::FOLDER_VARIABLE,
        },
        OpenError::Broken(text) => {
            ModelLoadError::Native { folder, library: LIBRARY, source: text.into() }
        }
    }
}

/// Finds the manifest's input and output among the model's signatures.
fn check<'a>(
    folder: &Path,
    manifest: &Manifest,
    signatures: &'a HashMap<String, SignatureDef>,
) -> Result<(&'a TensorInfo, &'a TensorInfo), ModelLoadError> {
    let wanted = &manifest.signature;
    let signature =
        signatures.get(&wanted.name).ok_or_else(|| ModelLoadError::SignatureMissing {
            folder: folder.to_path_buf(),
            expected: wanted.name.clone(),
            found: sorted(signatures),
        })?;
    let input = match signature.inputs().get(&wanted.input) {
        Some(input) if signature.inputs().len() == 1 => input,
        _ => {
            return Err(ModelLoadError::Inputs {
                folder: folder.to_path_buf(),
                signature: wanted.name.clone(),
                expected: wanted.input.clone(),
                found: sorted(signature.inputs()),
            });
        }
    };
    let output =
        signature.outputs().get(&wanted.output).ok_or_else(|| ModelLoadError::OutputMissing {
            folder: folder.to_path_buf(),
            signature: wanted.name.clone(),
            expected: wanted.output.clone(),
            found: sorted(signature.outputs()),
        })?;
    let features = (manifest.features.len(), "features");
    check_tensor(folder, &wanted.input, input, features)?;
    let outputs = (manifest.outputs.len(), "outputs");
    check_tensor(folder, &wanted.output, output, outputs)?;
    Ok((input, output))
}

/// Checks that a tensor is `float32`, any number of rows by as many columns as the manifest names.
fn check_tensor(
    folder: &Path,
    name: &str,
    tensor: &TensorInfo,
    (columns, what): (usize, &str),
) -> Result<(), ModelLoadError> {
    if tensor.dtype() != DataType::Float {
        return Err(ModelLoadError::ElementType {
            folder: folder.to_path_buf(),
            tensor: name.to_string(),
            expected: "float32",
            found: element_type(tensor.dtype()),
        });
    }
    let expected = Shape::from(Some(vec![None, Some(columns as i64)]));
    if *tensor.shape() != expected {
        return Err(ModelLoadError::Shape {
            folder: folder.to_path_buf(),
            tensor: name.to_string(),
            expected: shape(&expected),
            because: format!("{columns} {what} in the manifest"),
            found: shape(tensor.shape()),
        });
    }
    Ok(())
}

fn sorted<T>(by_name: &HashMap<String, T>) -> Vec<String> {
    let mut names: Vec<_> = by_name.keys().cloned().collect();
    names.sort();
    names
}

/// A type by the name that Python users know.
fn element_type(found: DataType) -> String {
    match found {
        DataType::Float => "float32".to_string(),
        DataType::Double => "float64".to_string(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A shape as `[?, 12]`.
fn shape(shape: &Shape) -> String {
    let Some(rank) = shape.dims() else { return "unknown".to_string() };
    let size = |axis: usize| shape[axis].map_or_else(|| "?".to_string(), |n| n.to_string());
    format!("[{}]", (0..rank).map(size).collect::<Vec<_>>().join(", "))
}
