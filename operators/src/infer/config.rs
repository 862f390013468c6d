//! The options of a model; `default.toml` is their manual.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use tideflow_core::{OptionProblem, Secret};
use tideflow_models::{ModelLoadError, ModelRef, ModelUri, Runtime};

use super::{InferOptions, OnFailure, Scorer, Slice};

/// The defaults and manual of [`ModelConfig`], under `model`.
pub const MODEL_DEFAULTS: &str = include_str!("default.toml");

/// The defaults and manual of [`CandidateConfig`], under `candidate`.
pub const CANDIDATE_DEFAULTS: &str = include_str!("candidate.toml");

/// Which model scores, and how it is called.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A folder, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
    pub reference: String,
    /// The address of the registry.
    pub registry_url: String,
    /// What the registry asks for.
    pub registry_token: Secret,
    /// Who may sign the certificates of the registry and of the server.
    pub ca_file: PathBuf,
    /// How long an answer of the registry may take.
    pub registry_timeout_ms: u64,
    /// How often it is asked.
    pub poll_ms: u64,
    /// The address of a TensorFlow Serving server; empty: the model scores in this process.
    pub serving_url: String,
    /// What that server asks for.
    pub serving_token: Secret,
    /// How long an answer of it may take.
    pub serving_timeout_ms: u64,
    /// How often it is sent a batch.
    pub serving_tries: u32,
    /// Batches without an answer after which it is left alone.
    pub serving_failures_max: u32,
    /// How long.
    pub serving_rest_ms: u64,
    /// Where copies are.
    pub cache: PathBuf,
    /// Rows of every call; 0 for the model's own number.
    pub batch_rows: usize,
    /// How long a row waits for others.
    pub wait_ms_max: u64,
    /// Threads beside each worker.
    pub threads: usize,
    /// Batches given out ahead at most.
    pub inflight_max: usize,
    /// How long a batch may take.
    pub timeout_ms: u64,
    /// What becomes of an epoch in which the model fails.
    pub on_failure: Policy,
    /// The score that its rows get, where they get one.
    pub fallback_score: f64,
    /// What the workers of a process share, by what was read.
    #[serde(skip)]
    shared: Arc<Mutex<BTreeMap<String, ModelRef>>>,
    /// In place of what was read.
    #[serde(skip)]
    given: Option<ModelRef>,
}

/// [`OnFailure`], as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The run ends.
    Stop,
    /// Dead letters.
    Reject,
    /// The fallback score.
    Score,
}

/// Which candidate scores beside a model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateConfig {
    /// A folder, `models:/NAME@ALIAS` or `models:/NAME/VERSION`; empty: there is none.
    pub reference: String,
    /// The share of all keys that it scores.
    pub share: f64,
    /// Whether its scores count.
    pub publish: bool,
}

impl CandidateConfig {
    /// The candidate, opened and called as the champion is; none where there is none.
    pub fn beside(&self, champion: &ModelConfig) -> Option<(ModelConfig, Slice)> {
        let slice = Slice { share: self.share, publish: self.publish };
        let candidate = || (champion.with_reference(&self.reference), slice);
        (!self.reference.is_empty()).then(candidate)
    }

    /// What is wrong with options that only make sense together; `section` is where they are.
    pub fn problems(&self, section: &str, champion: &ModelConfig) -> Vec<OptionProblem> {
        let Some((candidate, _)) = self.beside(champion) else { return Vec::new() };
        let own = format!("{section}.reference");
        candidate.problems(section).into_iter().filter(|problem| problem.key == own).collect()
    }
}

impl Scorer for ModelConfig {
    fn scorer(&self) -> Result<(ModelRef, InferOptions), ModelLoadError> {
        Ok((self.model()?, self.calls()))
    }
}

impl ModelConfig {
    /// What is wrong with options that only make sense together; `section` is where they are.
    pub fn problems(&self, section: &str) -> Vec<OptionProblem> {
        let problem = |key: &str, why: String| OptionProblem::new(format!("{section}.{key}"), why);
        let mut problems = Vec::new();
        if self.cache.as_os_str().is_empty() {
            problems.push(problem("cache", "expected a folder, found none".to_string()));
        }
        if self.inflight_max < self.threads {
            let why =
                format!("{} is less than `{section}.threads`, {}", self.inflight_max, self.threads);
            problems.push(problem("inflight_max", why));
        }
        if !self.serving_url.is_empty() && !cfg!(feature = "http") {
            let why = "expected a program built with feature `http`, found one without";
            problems.push(problem("serving_url", why.to_string()));
        }
        if ModelUri::is_meant(&self.reference) {
            match self.reference.parse::<ModelUri>() {
                Err(error) => problems.push(problem("reference", error.to_string())),
                Ok(_) if self.registry_url.is_empty() => {
                    let why =
                        format!("`{}` is in a registry: expected its address", self.reference);
                    problems.push(problem("registry_url", why));
                }
                Ok(_) if !cfg!(feature = "http") => {
                    let why = "expected a program built with feature `http`, found one without";
                    problems.push(problem("reference", why.to_string()));
                }
                Ok(_) => {}
            }
        }
        problems
    }

    /// The model; the same for all workers of a process.
    fn model(&self) -> Result<ModelRef, ModelLoadError> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let mut shared = self.shared.lock().expect("no holder of this lock panics");
        // A copy may have been changed since.
        let options = (&self.reference, &self.registry_url, &self.serving_url, &self.cache);
        let key = format!("{options:?}");
        if let Some(model) = shared.get(&key) {
            return Ok(model.clone());
        }
        let model = self.make()?;
        shared.insert(key, model.clone());
        Ok(model)
    }

    #[cfg(feature = "http")]
    fn make(&self) -> Result<ModelRef, ModelLoadError> {
        let runtime = match self.serving_url.is_empty() {
            true => Runtime::InProcess,
            false => Runtime::Serving(tideflow_models::ServingAccess {
                http: self.http(&self.serving_url, &self.serving_token, self.serving_timeout_ms),
                tries: self.serving_tries,
                failures_max: self.serving_failures_max,
                rest_ms: self.serving_rest_ms,
            }),
        };
        let Ok(uri) = self.reference.parse::<ModelUri>() else {
            return Ok(ModelRef::folder(&self.reference, Some(&self.cache), runtime));
        };
        let access = self.http(&self.registry_url, &self.registry_token, self.registry_timeout_ms);
        let versions = tideflow_models::Mlflow::new(&access, uri, &self.cache, runtime)?;
        Ok(ModelRef::new(self.reference.clone(), versions))
    }

    #[cfg(feature = "http")]
    fn http(&self, url: &str, token: &Secret, timeout_ms: u64) -> tideflow_models::HttpAccess {
        let (url, token, ca_file) = (url.to_string(), token.clone(), self.ca_file.clone());
        tideflow_models::HttpAccess { url, token, ca_file, timeout_ms }
    }

    #[cfg(not(feature = "http"))]
    fn make(&self) -> Result<ModelRef, ModelLoadError> {
        Ok(ModelRef::folder(&self.reference, Some(&self.cache), Runtime::InProcess))
    }

    /// The same, with another reference.
    #[must_use]
    pub fn with_reference(&self, reference: &str) -> Self {
        ModelConfig { reference: reference.to_string(), given: None, ..self.clone() }
    }

    /// Has this model score, whatever the options say: for tests and demos.
    #[must_use]
    pub fn with_model(self, model: ModelRef) -> Self {
        ModelConfig { given: Some(model), ..self }
    }

    fn calls(&self) -> InferOptions {
        InferOptions {
            batch_rows: (self.batch_rows > 0).then_some(self.batch_rows),
            wait_max: Duration::from_millis(self.wait_ms_max),
            threads: self.threads,
            inflight_max: self.inflight_max,
            timeout: Duration::from_millis(self.timeout_ms),
            on_failure: match self.on_failure {
                Policy::Stop => OnFailure::Stop,
                Policy::Reject => OnFailure::Reject,
                Policy::Score => OnFailure::Score(self.fallback_score),
            },
            poll: Duration::from_millis(self.poll_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_of_a_call_goes_where_it_belongs() {
        let config: ModelConfig = serde_json::from_value(serde_json::json!({
            "reference": "folder", "registry_url": "", "registry_token": "", "ca_file": "",
            "registry_timeout_ms": 1, "poll_ms": 2, "serving_url": "", "serving_token": "",
            "serving_timeout_ms": 3, "serving_tries": 4, "serving_failures_max": 5, "serving_rest_ms": 6,
            "cache": "cache", "batch_rows": 7, "wait_ms_max": 8, "threads": 9, "inflight_max": 10,
            "timeout_ms": 11, "on_failure": "score", "fallback_score": 0.5,
        }))
        .expect("all options");
        let ms = Duration::from_millis;
        let expected = InferOptions {
            batch_rows: Some(7),
            wait_max: ms(8),
            threads: 9,
            inflight_max: 10,
            timeout: ms(11),
            on_failure: OnFailure::Score(0.5),
            poll: ms(2),
        };
        assert_eq!(config.calls(), expected);
        let other = ModelConfig { batch_rows: 0, on_failure: Policy::Reject, ..config };
        let expected = InferOptions { batch_rows: None, on_failure: OnFailure::Reject, ..expected };
        assert_eq!(other.calls(), expected);
    }
}
