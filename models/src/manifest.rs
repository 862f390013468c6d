//! The manifest beside a model's files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Feature, ModelLoadError};

/// What a person or a program must know to use a model: `manifest.json` in its folder, written by
/// whoever trained it.
///
/// Unknown fields are allowed, missing ones are errors. In JSON:
///
/// ```
/// # let json = r#"
/// {
///   "format_version": 1,
///   "name": "health",
///   "version": "2026-11-22",
///   "features": [{"name": "temperature.mean", "unit": "degC"}],
///   "signature": {"name": "serving_default", "input": "keras_tensor", "output": "output_0"},
///   "outputs": ["score"],
///   "scaling": "inside the SavedModel",
///   "metrics": {"auc": 0.98},
///   "alarm": {"raise_above": 0.9, "clear_below": 0.6},
///   "data_digest": "5feceb66...",
///   "libraries": {"tensorflow": "2.21.0"},
///   "created": "2026-11-22T17:40:00Z"
/// }
/// # "#;
/// # let manifest: tideflow_models::Manifest = serde_json::from_str(json).unwrap();
/// # assert_eq!(manifest.features[0].unit, "degC");
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
    /// Where rows enter and scores leave.
    pub signature: SignatureNames,
    /// What the columns of the output are, in order; at least one, names unique.
    pub outputs: Vec<String>,
    /// Where features are scaled, for people to read. Tideflow never scales: it belongs in the
    /// model.
    pub scaling: String,
    /// What the trainer measured, of the training and on data kept back, by the names it gave.
    pub metrics: BTreeMap<String, f64>,
    /// Thresholds that the scores were calibrated for, of the first output. For whoever configures
    /// a graph's alarm: a graph goes by its own options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<AlarmThresholds>,
    /// The digest of the data it was made from, and of nothing else.
    pub data_digest: String,
    /// The versions of the libraries that trained and exported it.
    pub libraries: BTreeMap<String, String>,
    /// When it was trained; RFC 3339.
    pub created: String,
}

/// Names inside a SavedModel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureNames {
    /// The signature, usually `serving_default`.
    pub name: String,
    /// The only input: `float32`, rows by features.
    pub input: String,
    /// The output that is read: `float32`, rows by outputs.
    pub output: String,
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
    pub const FORMAT_VERSION: u32 = 1;
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
        check_names("features", manifest.features.iter().map(|f| f.name.as_str()), value)?;
        check_names("outputs", manifest.outputs.iter().map(String::as_str), value)?;
        if let Some(alarm) = manifest.alarm
            && alarm.clear_below > alarm.raise_above
        {
            let expected = format!("at most `alarm.raise_above`, {}", alarm.raise_above);
            return Err(value("alarm.clear_below", expected, alarm.clear_below.to_string()));
        }
        Ok(manifest)
    }
}

#[derive(Deserialize)]
struct FormatVersion {
    format_version: u32,
}

fn check_names<'a>(
    field: &'static str,
    names: impl Iterator<Item = &'a str>,
    error: impl Fn(&'static str, String, String) -> ModelLoadError,
) -> Result<(), ModelLoadError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(error(field, "names that are not empty".into(), "an empty one".into()));
        }
        if !seen.insert(name) {
            return Err(error(field, "unique names".into(), format!("`{name}` twice")));
        }
    }
    if seen.is_empty() {
        return Err(error(field, "at least one name".into(), "none".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn valid() -> Value {
        json!({
            "format_version": 1,
            "name": "health",
            "version": "3",
            "features": [{"name": "a", "unit": "celsius"}, {"name": "b", "unit": "g"}],
            "signature": {"name": "serving_default", "input": "x", "output": "output_0"},
            "outputs": ["score"],
            "scaling": "inside the SavedModel",
            "metrics": {"auc": 0.5},
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
        for field in valid().as_object().unwrap().keys() {
            let mut value = valid();
            value.as_object_mut().unwrap().remove(field);
            let message = message(&value);
            assert!(message.contains(&format!("missing field `{field}`")), "{message}");
            assert!(message.contains("m/manifest.json"), "{message}");
        }
        for (field, inner) in
            [("signature", "name"), ("signature", "input"), ("signature", "output")]
        {
            let mut value = valid();
            value[field].as_object_mut().unwrap().remove(inner);
            let message = message(&value);
            assert!(message.contains(&format!("missing field `{inner}`")), "{message}");
        }
    }

    #[test]
    fn fault_another_format_version_is_refused_before_its_fields() {
        assert_eq!(
            message(&json!({"format_version": 2})),
            "reading manifest `m/manifest.json`: `format_version`: expected 1, found 2"
        );
    }

    #[test]
    fn fault_values_that_cannot_be_say_expected_and_found() {
        let cases = [
            ("features", json!([]), "`features`: expected at least one name, found none"),
            ("outputs", json!([]), "`outputs`: expected at least one name, found none"),
            ("outputs", json!(["s", "s"]), "`outputs`: expected unique names, found `s` twice"),
            ("outputs", json!([""]), "expected names that are not empty, found an empty one"),
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
}
