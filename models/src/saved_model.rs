//! TensorFlow SavedModels.

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::path::Path;

use tensorflow::{
    DataType, Graph, SavedModelBundle, Session, SessionOptions, SessionRunArgs, Shape,
    SignatureDef, Status, TensorInfo,
};

use crate::folder::{digest, expect_file, expect_folder};
use crate::native::{self, OpenError};
use crate::rows::Form;
use crate::tensors::{Columns, Numbers, Port};
use crate::{DType, Distribution, Manifest, Model, ModelLoadError, Rows, ScoreError, Signature};

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
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl TensorFlowModel {
    /// Loads the SavedModel in `folder` and checks that it is what its manifest says: the signature is there;
    /// it takes the manifest's tensors and no others, and gives at least those of the manifest; each has the
    /// manifest's type, and its shape behind an axis for any number of rows.
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
        let signatures = bundle.meta_graph_def().signatures();
        let (inputs, outputs) = check(folder, &manifest, signatures)?;
        let inputs = manifest.inputs.iter().zip(inputs);
        let inputs = inputs.map(|(i, info)| Port::new(&graph, info, i.dtype, &i.shape));
        let outputs = manifest.outputs.iter().zip(outputs);
        let outputs = outputs.map(|(o, info)| Port::new(&graph, info, o.dtype, &o.shape));
        Ok(Self {
            signature: manifest.signature(digest(folder)?),
            inputs: inputs.collect::<Result<_, _>>().map_err(native)?,
            outputs: outputs.collect::<Result<_, _>>().map_err(native)?,
            session: bundle.session,
            manifest,
        })
    }

    /// What its trainer wrote about it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn run(&self, given: &[Columns], count: usize, out: &mut Vec<f64>) -> Result<(), Status> {
        let mut step = SessionRunArgs::new();
        for (port, columns) in self.inputs.iter().zip(given) {
            columns.numbers.feed(port, &mut step);
        }
        let ask = |port: &Port| step.request_fetch(&port.operation, port.index);
        let tokens: Vec<_> = self.outputs.iter().map(ask).collect();
        self.session.run(&mut step)?;
        let outputs = self.signature.outputs.len();
        out.resize(count * outputs, 0.0);
        let mut column = 0;
        for (port, token) in self.outputs.iter().zip(tokens) {
            let numbers = Numbers::fetch(port.dtype, &mut step, token)?;
            if numbers.len() != count * port.width() {
                out.clear();
                break;
            }
            numbers.spread(port.width(), &mut out[column..], outputs);
            column += port.width();
        }
        Ok(())
    }
}

impl Model for TensorFlowModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn reference(&self) -> &BTreeMap<String, Distribution> {
        &self.manifest.reference
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        out.clear();
        self.signature.check_rows(rows, count)?;
        if count == 0 {
            return Ok(());
        }
        let mut given = self.rows(count);
        let mut writer = given.writer();
        for (place, row) in rows.chunks_exact(self.signature.width()).enumerate() {
            writer.set(place, row);
        }
        self.score_rows(&given, out)
    }

    fn rows(&self, count: usize) -> Rows {
        let mut column = 0;
        let inputs = self.inputs.iter().map(|port| {
            let columns = port.columns(count, column);
            column += port.width();
            columns
        });
        Rows::tensors(inputs.collect(), count)
    }

    fn score_rows(&self, rows: &Rows, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        out.clear();
        let (Form::Tensors(given), count) = (rows.form(), rows.count()) else {
            return self.score(rows.as_plain(), rows.count(), out);
        };
        self.run(given, count, out).map_err(|status| ScoreError::Native {
            model: self.signature.name.clone(),
            count,
            library: LIBRARY,
            source: status.into(),
        })?;
        let expected = count * self.signature.outputs.len();
        if out.len() != expected {
            let model = self.signature.name.clone();
            return Err(ScoreError::Scores { model, count, expected, found: out.len() });
        }
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

/// The tensors of a signature, in the manifest's order: those it takes, and those it gives.
type Tensors<'a> = (Vec<&'a TensorInfo>, Vec<&'a TensorInfo>);

/// Finds the manifest's inputs and outputs among the model's signatures.
fn check<'a>(
    folder: &Path,
    manifest: &Manifest,
    signatures: &'a HashMap<String, SignatureDef>,
) -> Result<Tensors<'a>, ModelLoadError> {
    let wanted = &manifest.signature;
    let signature = signatures.get(wanted).ok_or_else(|| ModelLoadError::SignatureMissing {
        folder: folder.to_path_buf(),
        expected: wanted.clone(),
        found: sorted(signatures),
    })?;
    let takes = sorted(signature.inputs());
    let mut expected: Vec<_> = manifest.inputs.iter().map(|i| i.tensor.clone()).collect();
    expected.sort();
    if takes != expected {
        return Err(ModelLoadError::Inputs {
            folder: folder.to_path_buf(),
            signature: wanted.clone(),
            expected,
            found: takes,
        });
    }
    let inputs = manifest.inputs.iter().map(|input| {
        let info = &signature.inputs()[&input.tensor];
        check_tensor(folder, &input.tensor, info, input.dtype, &input.shape)
    });
    let outputs = manifest.outputs.iter().map(|output| {
        let info = signature.outputs().get(&output.tensor);
        let info = info.ok_or_else(|| ModelLoadError::OutputMissing {
            folder: folder.to_path_buf(),
            signature: wanted.clone(),
            expected: output.tensor.clone(),
            found: sorted(signature.outputs()),
        })?;
        check_tensor(folder, &output.tensor, info, output.dtype, &output.shape)
    });
    Ok((inputs.collect::<Result<_, _>>()?, outputs.collect::<Result<_, _>>()?))
}

/// Checks a tensor's type, and its shape behind an axis for any number of rows.
fn check_tensor<'a>(
    folder: &Path,
    name: &str,
    tensor: &'a TensorInfo,
    dtype: DType,
    row: &[u64],
) -> Result<&'a TensorInfo, ModelLoadError> {
    if tensor.dtype() != data_type(dtype) {
        return Err(ModelLoadError::ElementType {
            folder: folder.to_path_buf(),
            tensor: name.to_string(),
            expected: dtype.as_str(),
            found: element_type(tensor.dtype()),
        });
    }
    let row = row.iter().map(|n| Some(*n as i64));
    let expected = Shape::from(Some(iter::once(None).chain(row).collect()));
    if *tensor.shape() != expected {
        return Err(ModelLoadError::Shape {
            folder: folder.to_path_buf(),
            tensor: name.to_string(),
            expected: shape(&expected),
            found: shape(tensor.shape()),
        });
    }
    Ok(tensor)
}

fn sorted<T>(by_name: &HashMap<String, T>) -> Vec<String> {
    let mut names: Vec<_> = by_name.keys().cloned().collect();
    names.sort();
    names
}

fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::Float32 => DataType::Float,
        DType::Float64 => DataType::Double,
        DType::Int64 => DataType::Int64,
    }
}

/// A type by the name that Python users know.
fn element_type(found: DataType) -> String {
    let ours = [DType::Float32, DType::Float64, DType::Int64];
    match ours.into_iter().find(|dtype| data_type(*dtype) == found) {
        Some(dtype) => dtype.as_str().to_string(),
        None => format!("{found:?}").to_lowercase(),
    }
}

/// A shape as `[?, 12]`.
fn shape(shape: &Shape) -> String {
    let Some(rank) = shape.dims() else { return "unknown".to_string() };
    let size = |axis: usize| shape[axis].map_or_else(|| "?".to_string(), |n| n.to_string());
    format!("[{}]", (0..rank).map(size).collect::<Vec<_>>().join(", "))
}
