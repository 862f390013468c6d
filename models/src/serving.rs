//! Models that a TensorFlow Serving server scores, over its REST API.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::http::{Http, HttpAccess, HttpError, encoded};
use crate::{
    DType, Distribution, ErrorKind, Manifest, Model, ModelLoadError, ScoreError, Signature,
    VersionId,
};

/// How a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingAccess {
    /// The server.
    pub http: HttpAccess,
    /// How often a batch is sent at most, where the server does not answer.
    pub tries: u32,
    /// After so many batches in a row without an answer the server is not asked for a while.
    pub failures_max: u32,
    /// That while, in milliseconds; then one batch tries again.
    pub rest_ms: u64,
}

/// Between two tries: doubled each time.
const BACKOFF: Duration = Duration::from_millis(20);

/// A version of a model on a server: promises 1 to 5 of [`Model`] are the server's as far as they are its
/// scores. One that puts requests together in batches of its own, or runs on several kinds of processors, may
/// give a row other last bits the next time.
pub struct ServingModel {
    signature: Signature,
    manifest: Manifest,
    path: String,
    http: Http,
    access: ServingAccess,
    breaker: Mutex<Breaker>,
}

/// Keeps from asking a server that does not answer.
#[derive(Default)]
struct Breaker {
    failures: u32,
    rests_until: Option<Instant>,
}

#[derive(Deserialize)]
struct Metadata {
    metadata: Signatures,
}

#[derive(Deserialize)]
struct Signatures {
    signature_def: Named,
}

#[derive(Deserialize)]
struct Named {
    signature_def: BTreeMap<String, Tensors>,
}

#[derive(Deserialize)]
struct Tensors {
    #[serde(default)]
    inputs: BTreeMap<String, Tensor>,
    #[serde(default)]
    outputs: BTreeMap<String, Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    #[serde(default)]
    tensor_shape: Shape,
}

#[derive(Default, Deserialize)]
struct Shape {
    #[serde(default)]
    dim: Vec<Dimension>,
}

#[derive(Deserialize)]
struct Dimension {
    /// A number as text.
    size: String,
}

impl ServingModel {
    /// The version `id` on a server, whose manifest is the one given: asks the server for its signature, and
    /// checks that it is what the manifest says.
    ///
    /// # Errors
    /// When the server cannot be asked, does not have the version, or has another signature.
    pub fn open(
        id: &VersionId,
        manifest: Manifest,
        access: &ServingAccess,
    ) -> Result<Self, ModelLoadError> {
        let http = Http::new(&access.http)?;
        let path = format!("v1/models/{}/versions/{}", encoded(&id.name), encoded(&id.version));
        let doing = format!("asking for version `{}` of model `{}`", id.version, id.name);
        let metadata: Metadata = http.get(&doing, &format!("{path}/metadata"), &[])?;
        check(&http, &doing, &manifest, &metadata.metadata.signature_def.signature_def)?;
        let signature = Signature {
            name: id.name.clone(),
            version: id.version.clone(),
            ..manifest.signature(id.digest.clone())
        };
        let (access, breaker) = (access.clone(), Mutex::default());
        Ok(ServingModel { signature, manifest, path, http, access, breaker })
    }

    /// What its trainer wrote about it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Sends a batch until it is answered, so often.
    fn ask(&self, rows: &[f64], count: usize) -> Result<Value, HttpError> {
        let doing = format!("scoring {count} rows");
        let body = serde_json::to_vec(&self.question(rows, count)).expect("numbers are JSON");
        let mut pause = BACKOFF;
        let mut tried = 1;
        loop {
            let asked = self.http.post(&doing, &format!("{}:predict", self.path), body.clone());
            match asked.and_then(|text| self.parse(&doing, &text)) {
                Err(error) if error.kind == ErrorKind::Unavailable && tried < self.access.tries => {
                    thread::park_timeout(pause);
                    pause *= 2;
                    tried += 1;
                }
                answer => return answer,
            }
        }
    }

    /// An answer as JSON, which has no NaN and no infinity; TensorFlow Serving writes them all the same.
    fn parse(&self, doing: &str, text: &[u8]) -> Result<Value, HttpError> {
        serde_json::from_slice(text).or_else(|_| {
            let text = String::from_utf8_lossy(text);
            let text = text.replace("-Infinity", "null").replace("Infinity", "null");
            serde_json::from_str(&text.replace("NaN", "null")).map_err(|error| {
                let reason = format!("its answer is no JSON: {error}");
                self.http.error(doing, reason, ErrorKind::Invalid)
            })
        })
    }

    /// The columns of a batch: each input tensor whole.
    fn question(&self, rows: &[f64], count: usize) -> Value {
        let width = self.signature.width();
        let mut inputs = Map::new();
        let mut from = 0;
        for input in &self.manifest.inputs {
            let to = from + input.features.len();
            let row = |n: usize| shaped(&rows[n * width..][from..to], &input.shape, input.dtype);
            inputs.insert(input.tensor.clone(), (0..count).map(row).collect());
            from = to;
        }
        let signature_name = self.manifest.signature.clone();
        serde_json::json!({"signature_name": signature_name, "inputs": inputs})
    }

    /// The scores of an answer; none where it is not of this shape.
    fn scores(&self, answer: &Value, count: usize, out: &mut Vec<f64>) -> Option<()> {
        let outputs = answer.get("outputs")?;
        let single = self.manifest.outputs.len() == 1 && outputs.is_array();
        let mut columns = Vec::new();
        for output in &self.manifest.outputs {
            let tensor = if single { outputs } else { outputs.get(&output.tensor)? };
            let mut flat = Vec::new();
            flatten(tensor, output.dtype, &mut flat)?;
            let width = output.names.len();
            if flat.len() != count * width {
                return None;
            }
            columns.push((flat, width));
        }
        for row in 0..count {
            columns.iter().for_each(|(flat, width)| out.extend(&flat[row * width..][..*width]));
        }
        Some(())
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().expect("no holder of this lock panics")
    }

    /// Fails while the server is left alone. The first that asks after that tries for all.
    fn may_ask(&self) -> Result<(), HttpError> {
        let mut breaker = self.breaker();
        let Some(until) = breaker.rests_until else { return Ok(()) };
        let now = Instant::now();
        if now < until {
            return Err(HttpError {
                doing: "scoring".to_string(),
                url: self.access.http.url.clone(),
                reason: format!("left alone after {} batches without an answer", breaker.failures),
                kind: ErrorKind::Unavailable,
            });
        }
        breaker.rests_until = Some(now + self.rest());
        Ok(())
    }

    fn rest(&self) -> Duration {
        Duration::from_millis(self.access.rest_ms)
    }

    fn note(&self, answered: bool) {
        let mut breaker = self.breaker();
        if answered {
            *breaker = Breaker::default();
            return;
        }
        breaker.failures = breaker.failures.saturating_add(1);
        if breaker.failures >= self.access.failures_max {
            breaker.rests_until = Some(Instant::now() + self.rest());
        }
    }
}

impl Model for ServingModel {
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
        let failed = |source: HttpError| {
            let (model, library) = (self.signature.name.clone(), "TensorFlow Serving");
            ScoreError::Native { model, count, library, source: Box::new(source) }
        };
        self.may_ask().map_err(failed)?;
        let answer = self.ask(rows, count);
        self.note(!matches!(&answer, Err(error) if error.kind == ErrorKind::Unavailable));
        let answer = answer.map_err(failed)?;
        if self.scores(&answer, count, out).is_none() {
            out.clear();
            let (model, expected) =
                (self.signature.name.clone(), count * self.signature.outputs.len());
            return Err(ScoreError::Scores { model, count, expected, found: 0 });
        }
        Ok(())
    }
}

/// A row in the shape of its tensor.
fn shaped(row: &[f64], shape: &[u64], dtype: DType) -> Value {
    match shape.split_first() {
        None if dtype == DType::Int64 => Value::from(row[0] as i64),
        None if dtype == DType::Float32 => Value::from(f64::from(row[0] as f32)),
        None => Value::from(row[0]),
        Some((0, _)) => Value::Array(Vec::new()),
        Some((n, rest)) => {
            let size = row.len() / *n as usize;
            row.chunks(size.max(1)).map(|part| shaped(part, rest, dtype)).collect()
        }
    }
}

/// The numbers of nested lists in order; what is no number there is NaN, as JSON has none.
fn flatten(value: &Value, dtype: DType, out: &mut Vec<f64>) -> Option<()> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| flatten(item, dtype, out)),
        Value::Number(number) => {
            let value = number.as_f64()?;
            // As the model in this process would give it: decimals are those of its own type.
            out.push(match dtype {
                DType::Float32 => f64::from(value as f32),
                DType::Int64 if !DType::Int64.holds(value) => f64::NAN,
                _ => value,
            });
            Some(())
        }
        Value::Null => {
            out.push(f64::NAN);
            Some(())
        }
        _ => None,
    }
}

/// Checks a server's signature against the manifest.
fn check(
    http: &Http,
    doing: &str,
    manifest: &Manifest,
    signatures: &BTreeMap<String, Tensors>,
) -> Result<(), ModelLoadError> {
    let other = |what: String| {
        ModelLoadError::from(http.error(
            doing,
            format!("it serves another model: {what}"),
            ErrorKind::Invalid,
        ))
    };
    let signature = signatures.get(&manifest.signature);
    let signature = signature
        .ok_or_else(|| other(format!("expected signature `{}`, found none", manifest.signature)))?;
    let taken: Vec<_> = signature.inputs.keys().collect();
    let mut expected: Vec<_> = manifest.inputs.iter().map(|input| &input.tensor).collect();
    expected.sort();
    if taken != expected {
        return Err(other(format!("expected the inputs {expected:?}, found {taken:?}")));
    }
    let inputs = manifest.inputs.iter().map(|i| (&i.tensor, i.dtype, &i.shape, &signature.inputs));
    let outputs =
        manifest.outputs.iter().map(|o| (&o.tensor, o.dtype, &o.shape, &signature.outputs));
    for (name, dtype, shape, tensors) in inputs.chain(outputs) {
        let found = tensors.get(name).map(|t| (t.dtype.as_str(), dimensions(t)));
        let expected = [-1].into_iter().chain(shape.iter().map(|n| *n as i64)).collect();
        let wanted = (serving_name(dtype), expected);
        if found.as_ref() != Some(&wanted) {
            return Err(other(format!("tensor `{name}`: expected {wanted:?}, found {found:?}")));
        }
    }
    Ok(())
}

fn dimensions(tensor: &Tensor) -> Vec<i64> {
    tensor.tensor_shape.dim.iter().map(|d| d.size.parse().unwrap_or(0)).collect()
}

fn serving_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Float32 => "DT_FLOAT",
        DType::Float64 => "DT_DOUBLE",
        DType::Int64 => "DT_INT64",
    }
}
