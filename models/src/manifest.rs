//! The manifest beside a model's files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{DType, Feature, ModelLoadError, Signature};

/// What a person or a program must know to use a model: `manifest.json` in its folder, written by
/// whoever trained it.
///
/// Unknown fields are allowed, missing ones are errors. In JSON:
///
/// ```
/// # let json = r#"
/// {
///   "format_version": 2,
///   "name": "health",
///   "version": "2026-11-22",
///   "features": [{"name": "temperature.mean", "unit": "degC"}],
///   "signature": "serving_default",
///   "inputs": [
///     {"tensor": "features", "dtype": "float32", "shape": [1], "features": ["temperature.mean"]}
///   ],
///   "outputs": [{"tensor": "score", "dtype": "float32", "shape": [1], "names": ["score"]}],
///   "batch_rows": 256,
///   "scaling": "inside the SavedModel",
///   "metrics": {"auc": 0.98},
///   "alarm": {"raise_above": 0.9, "clear_below": 0.6},
///   "reference": {"score": {"edges": [0.2, 0.6], "shares": [0.5, 0.4, 0.1]}},
///   "data_digest": "5feceb66...",
///   "libraries": {"tensorflow": "2.21.0"},
///   "created": "2026-11-22T17:40:00Z"
/// }
/// # "#;
/// # let manifest: tideflow_models::Manifest = serde_json::from_str(json).unwrap();
/// # assert_eq!(manifest.features[0].unit, "degC");
/// # assert_eq!(manifest.reference["score"].shares[2], 0.1);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format: [`Manifest::FORMAT_VERSION`].
    pub format_version: u32,
    /// The model's name.
    pub name: String,
    /// The model's version; any text.
    pub version: String,
    /// What a row holds, in order; at least one, names unique.
    pub features: Vec<Feature>,
    /// The SavedModel's signature, usually `serving_default`.
    pub signature: String,
    /// The tensors that a row is cut into, in the order of the features: all that the signature takes.
    pub inputs: Vec<InputTensor>,
    /// The tensors that are read, in order; the signature may give others.
    pub outputs: Vec<OutputTensor>,
    /// Rows of every call: the last bits of a score may depend on it, so it is a part of the model. A
    /// multiple of 64 where bits must not depend on a row's place.
    pub batch_rows: usize,
    /// Where features are scaled, for people to read. Tideflow never scales: it belongs in the
    /// model.
    pub scaling: String,
    /// What the trainer measured, of the training and on data kept back, by the names it gave.
    pub metrics: BTreeMap<String, f64>,
    /// Thresholds that the scores were calibrated for, of the first output. For whoever configures
    /// a graph's alarm: a graph goes by its own options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<AlarmThresholds>,
    /// How features and outputs were distributed at training, by their names: what lives is compared with it.
    #[serde(default)]
    pub reference: BTreeMap<String, Distribution>,
    /// The digest of the data it was made from, and of nothing else.
    pub data_digest: String,
    /// The versions of the libraries that trained and exported it.
    pub libraries: BTreeMap<String, String>,
    /// When it was trained; RFC 3339.
    pub created: String,
}

/// A tensor that a model takes, one slice of it a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputTensor {
    /// Its name in the signature.
    pub tensor: String,
    /// The type of its elements.
    pub dtype: DType,
    /// The shape of one row: that of the tensor without its first axis.
    pub shape: Vec<u64>,
    /// The features that it holds, in row-major order.
    pub features: Vec<String>,
}

/// A tensor that a model gives, one slice of it a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputTensor {
    /// Its name in the signature.
    pub tensor: String,
    /// The type of its elements.
    pub dtype: DType,
    /// The shape of one row: that of the tensor without its first axis.
    pub shape: Vec<u64>,
    /// What its elements are, in row-major order; names unique over all outputs.
    pub names: Vec<String>,
}

/// How often values fell into each of several bins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The borders between bins, rising; a value that equals one belongs to the bin above.
    pub edges: Vec<f64>,
    /// The share of each bin, one more than there are borders; together 1.
    pub shares: Vec<f64>,
}

/// An alarm with hysteresis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlarmThresholds {
    /// A score above this raises the alarm.
    pub raise_above: f64,
    /// A score below this clears it; not above `raise_above`.
    pub clear_below: f64,
}

impl Manifest {
    /// The version of the format that this release reads.
    pub const FORMAT_VERSION: u32 = 2;
    /// The name of the file in a model's folder.
    pub const FILE: &str = "manifest.json";

    /// Reads and checks the manifest in a model's folder.
    ///
    /// Fails with [`ModelLoadError::FolderMissing`], [`ModelLoadError::NotAFolder`],
    /// [`ModelLoadError::FileMissing`], [`ModelLoadError::Io`], [`ModelLoadError::Manifest`] or
    /// [`ModelLoadError::ManifestValue`].
    pub fn read(folder: &Path) -> Result<Self, ModelLoadError> {
        crate::folder::expect_folder(folder)?;
        crate::folder::expect_file(folder, Self::FILE)?;
        let path = folder.join(Self::FILE);
        let text =
            fs::read(&path).map_err(|source| ModelLoadError::Io { path: path.clone(), source })?;
        Self::parse(&text, &path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self, ModelLoadError> {
        let json = |source| ModelLoadError::Manifest { path: path.to_path_buf(), source };
        // The version comes first: another format may lack fields that this one needs.
        let FormatVersion { format_version } = serde_json::from_slice(text).map_err(json)?;
        let value = |field, expected: String, found: String| ModelLoadError::ManifestValue {
            path: path.to_path_buf(),
            field,
            expected,
            found,
        };
        if format_version != Self::FORMAT_VERSION {
            let expected = Self::FORMAT_VERSION.to_string();
            return Err(value("format_version", expected, format_version.to_string()));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(json)?;
        match manifest.problem() {
            None => Ok(manifest),
            Some((field, expected, found)) => Err(value(field, expected, found)),
        }
    }

    /// What the model shows, whose files have this digest.
    pub fn signature(&self, digest: String) -> Signature {
        let each = |input: &InputTensor| vec![input.dtype; input.features.len()];
        Signature {
            name: self.name.clone(),
            version: self.version.clone(),
            digest,
            features: self.features.clone(),
            dtypes: self.inputs.iter().flat_map(each).collect(),
            outputs: self.outputs.iter().flat_map(|o| o.names.clone()).collect(),
            batch_rows: self.batch_rows,
        }
    }

    /// A field with a value that cannot be: what was expected there, and found.
    fn problem(&self) -> Option<Problem> {
        let features = self.features.iter().map(|f| f.name.as_str());
        let outputs = self.outputs.iter().flat_map(|o| &o.names).map(String::as_str);
        check_names("features", features.clone())
            .or_else(|| check_names("outputs", outputs.clone()))
            .or_else(|| self.tensor_problem(&features.clone().collect::<Vec<_>>()))
            .or_else(|| {
                let within = (1..=BATCH_ROWS_MAX).contains(&self.batch_rows);
                let expected = format!("1 to {BATCH_ROWS_MAX}");
                (!within).then(|| ("batch_rows", expected, self.batch_rows.to_string()))
            })
            .or_else(|| {
                let alarm = self.alarm.filter(|a| a.clear_below > a.raise_above)?;
                let expected = format!("at most `alarm.raise_above`, {}", alarm.raise_above);
                Some(("alarm.clear_below", expected, alarm.clear_below.to_string()))
            })
            .or_else(|| {
                self.reference.iter().find_map(|(name, d)| {
                    let known = features.clone().chain(outputs.clone()).any(|n| n == name);
                    let expected =
                        "features or outputs with rising borders, and shares that make 1";
                    (!known || !d.is_sound())
                        .then(|| ("reference", expected.to_string(), format!("`{name}`: {d:?}")))
                })
            })
    }

    fn tensor_problem(&self, features: &[&str]) -> Option<Problem> {
        let held: Vec<&str> =
            self.inputs.iter().flat_map(|i| &i.features).map(String::as_str).collect();
        if held != features {
            let what = "the features of `features`, each once and in their order";
            return Some(("inputs", what.to_string(), held.join(", ")));
        }
        let inputs = self.inputs.iter().map(|i| ("inputs", &i.tensor, &i.shape, i.features.len()));
        let outputs = self.outputs.iter().map(|o| ("outputs", &o.tensor, &o.shape, o.names.len()));
        inputs.chain(outputs).find_map(|(field, tensor, shape, names)| {
            let elements = shape.iter().try_fold(1, |product: u64, n| product.checked_mul(*n));
            (elements != Some(names as u64)).then(|| {
                let expected = format!("a shape of {names} elements for tensor `{tensor}`");
                (field, expected, format!("{shape:?}"))
            })
        })
    }
}

impl Distribution {
    fn is_sound(&self) -> bool {
        let rising = self.edges.windows(2).all(|pair| pair[0] < pair[1]);
        let finite = self.edges.iter().all(|edge| edge.is_finite());
        let shares = self.shares.iter().all(|share| *share >= 0.0);
        let whole = (self.shares.iter().sum::<f64>() - 1.0).abs() < 1e-6;
        rising && finite && shares && whole && self.shares.len() == self.edges.len() + 1
    }

    /// The bin that a value falls into.
    pub fn bin(&self, value: f64) -> usize {
        self.edges.partition_point(|edge| *edge <= value)
    }
}

/// Rows of a call at most.
const BATCH_ROWS_MAX: usize = 65_536;

/// A field, what was expected there, and what was found.
type Problem = (&'static str, String, String);

#[derive(Deserialize)]
struct FormatVersion {
    format_version: u32,
}

fn check_names<'a>(field: &'static str, names: impl Iterator<Item = &'a str>) -> Option<Problem> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Some((field, "names that are not empty".into(), "an empty one".into()));
        }
        if !seen.insert(name) {
            return Some((field, "unique names".into(), format!("`{name}` twice")));
        }
    }
    seen.is_empty().then(|| (field, "at least one name".into(), "none".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn valid() -> Value {
        json!({
            "format_version": 2,
            "name": "health",
            "version": "3",
            "features": [{"name": "a", "unit": "celsius"}, {"name": "b", "unit": "g"}],
            "signature": "serving_default",
            "inputs": [{"tensor": "x", "dtype": "float32", "shape": [2], "features": ["a", "b"]}],
            "outputs": [{"tensor": "y", "dtype": "float32", "shape": [1], "names": ["score"]}],
            "batch_rows": 256,
            "scaling": "inside the SavedModel",
            "metrics": {"auc": 0.5},
            "reference": {"a": {"edges": [0.5], "shares": [0.25, 0.75]}},
            "data_digest": "d",
            "libraries": {"keras": "3"},
            "created": "2026-11-22T00:00:00Z"
        })
    }

    fn parse(value: &Value) -> Result<Manifest, ModelLoadError> {
        Manifest::parse(value.to_string().as_bytes(), Path::new("m/manifest.json"))
    }

    fn message(value: &Value) -> String {
        parse(value).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_and_unknown_fields_are_left_alone() {
        let mut value = valid();
        value["alarm"] = json!({"raise_above": 0.9, "clear_below": 0.6});
        value["notes"] = json!("anything");
        let manifest = parse(&value).unwrap();
        assert_eq!(manifest.alarm.unwrap().clear_below, 0.6);
        assert_eq!(parse(&serde_json::to_value(&manifest).unwrap()).unwrap(), manifest);
    }

    #[test]
    fn fault_every_missing_field_is_named() {
        for field in valid().as_object().unwrap().keys().filter(|field| *field != "reference") {
            let mut value = valid();
            value.as_object_mut().unwrap().remove(field);
            let message = message(&value);
            assert!(message.contains(&format!("missing field `{field}`")), "{message}");
            assert!(message.contains("m/manifest.json"), "{message}");
        }
    }

    #[test]
    fn fault_another_format_version_is_refused_before_its_fields() {
        assert_eq!(
            message(&json!({"format_version": 1})),
            "reading manifest `m/manifest.json`: `format_version`: expected 2, found 1"
        );
    }

    #[test]
    fn fault_values_that_cannot_be_say_expected_and_found() {
        let output = |names: Value| json!([{"tensor": "y", "dtype": "float32", "shape": [1], "names": names}]);
        let input = |shape: Value, features: Value| json!([{"tensor": "x", "dtype": "int64", "shape": shape, "features": features}]);
        let bins = |edges: Value, shares: Value| json!({"a": {"edges": edges, "shares": shares}});
        let cases = [
            ("features", json!([]), "`features`: expected at least one name, found none"),
            ("outputs", json!([]), "`outputs`: expected at least one name, found none"),
            ("outputs", output(json!(["s", "s"])), "expected unique names, found `s` twice"),
            ("outputs", output(json!([""])), "expected names that are not empty, found an empty"),
            (
                "outputs",
                output(json!(["s", "t"])),
                "a shape of 2 elements for tensor `y`, found [1]",
            ),
            (
                "inputs",
                input(json!([2]), json!(["b", "a"])),
                "each once and in their order, found b, a",
            ),
            ("inputs", input(json!([2, 2]), json!(["a", "b"])), "for tensor `x`, found [2, 2]"),
            ("batch_rows", json!(0), "`batch_rows`: expected 1 to 65536, found 0"),
            ("reference", bins(json!([2, 1]), json!([0.5, 0.25, 0.25])), "expected features or"),
            ("reference", bins(json!([1]), json!([0.5, 0.25])), "shares that make 1, found `a`"),
            ("reference", bins(json!([1]), json!([1.0])), "`reference`"),
            ("reference", json!({"z": {"edges": [], "shares": [1.0]}}), "found `z`"),
            (
                "alarm",
                json!({"raise_above": 0.5, "clear_below": 0.6}),
                "`alarm.clear_below`: expected at most `alarm.raise_above`, 0.5, found 0.6",
            ),
            ("metrics", json!({"auc": "good"}), "invalid type: string \"good\", expected f64"),
        ];
        for (field, wrong, expected) in cases {
            let mut value = valid();
            value[field] = wrong;
            let message = message(&value);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_value_on_a_border_belongs_to_the_bin_above() {
        let bins = Distribution { edges: vec![0.0, 1.0], shares: vec![0.5, 0.25, 0.25] };
        assert_eq!([-1.0, 0.0, 0.5, 1.0, f64::MAX].map(|x| bins.bin(x)), [0, 1, 1, 2, 2]);
    }
}
