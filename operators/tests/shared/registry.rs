//! Versions in memory, and a reference that moves while they score.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tideflow_models::{
    Distribution, LinearModel, Model, ModelLoadError, ScoreError, Signature, VersionId, Versions,
};

/// Three versions, of which one is current. Clones are the same, but for what is broken.
#[derive(Clone)]
pub struct Registry {
    pub shared: Arc<Shared>,
    pub broken: Option<&'static str>,
}

pub struct Shared {
    moves_every: usize,
    calls: AtomicUsize,
    /// The place of the current one among them.
    pub current: AtomicUsize,
    /// How often each was opened, or not.
    pub tried: Mutex<BTreeMap<String, usize>>,
}

pub const VERSIONS: [&str; 3] = ["1", "2", "3"];

pub fn weight(version: &str) -> f64 {
    version.parse::<f64>().expect("a number") / 7.0
}

/// Version 1 knows how it was trained, 2 does not, and 3 knows it of its feature alone.
pub fn linear(version: &str) -> LinearModel {
    let model = LinearModel::new("numbers", &[("value", "1")], &[weight(version)], 0.5);
    let model = model.version(version).batch_rows(4);
    let bins = |edges: &[f64], shares: &[f64]| Distribution {
        edges: edges.to_vec(),
        shares: shares.to_vec(),
    };
    match version {
        "1" => model
            .trained_on("value", bins(&[-10.0, 0.0, 10.0], &[0.25; 4]))
            .trained_on("score", bins(&[0.0, 1.0], &[0.5, 0.5, 0.0])),
        "3" => model.trained_on("value", bins(&[5.0], &[0.5, 0.5])),
        _ => model,
    }
}

impl Registry {
    /// The next version becomes current with every so many calls.
    pub fn moving_every(calls: usize) -> Self {
        let shared = Shared {
            moves_every: calls,
            calls: AtomicUsize::new(0),
            current: AtomicUsize::new(0),
            tried: Mutex::default(),
        };
        Registry { shared: Arc::new(shared), broken: None }
    }
}

impl Versions for Registry {
    fn current(&self) -> Result<VersionId, ModelLoadError> {
        let version = VERSIONS[self.shared.current.load(Ordering::SeqCst)];
        Ok(VersionId::of(linear(version).signature()))
    }

    fn open(&self, id: &VersionId) -> Result<Arc<dyn Model>, ModelLoadError> {
        *self.shared.tried.lock().unwrap().entry(id.version.clone()).or_default() += 1;
        if self.broken == Some(id.version.as_str()) {
            return Err(ModelLoadError::VersionGone { wanted: id.clone(), at: "memory".into() });
        }
        let model = linear(&id.version);
        assert_eq!(VersionId::of(model.signature()), *id);
        Ok(Arc::new(Moving { model, shared: self.shared.clone() }))
    }

    fn may_change(&self) -> bool {
        true
    }
}

/// Takes its time, and moves the reference.
struct Moving {
    model: LinearModel,
    shared: Arc<Shared>,
}

impl Model for Moving {
    fn signature(&self) -> &Signature {
        self.model.signature()
    }

    fn reference(&self) -> &BTreeMap<String, Distribution> {
        self.model.reference()
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        let calls = self.shared.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if calls.is_multiple_of(self.shared.moves_every) {
            let next = |at| Some((at + 1) % VERSIONS.len());
            let _ = self.shared.current.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        }
        thread::park_timeout(Duration::from_micros(200));
        self.model.score(rows, count, out)
    }

    fn warm(&self, _: usize) -> Result<(), ScoreError> {
        Ok(())
    }
}
