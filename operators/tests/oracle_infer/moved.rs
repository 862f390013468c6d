//! A registry in which something is done from outside.

use std::sync::atomic::Ordering;

use crate::registry::{Registry, VERSIONS, weight};

impl Registry {
    /// The same, where this version cannot be opened.
    pub fn with_broken(self, version: &'static str) -> Self {
        Registry { broken: Some(version), ..self }
    }

    /// Has this version be current.
    pub fn move_to(&self, version: &str) {
        let at = VERSIONS.iter().position(|v| *v == version).expect("there is one");
        self.shared.current.store(at, Ordering::SeqCst);
    }

    /// How often a version was opened, or not.
    pub fn tried(&self, version: &str) -> usize {
        self.shared.tried.lock().unwrap().get(version).copied().unwrap_or(0)
    }

    /// What a version makes of a number.
    pub fn expected(&self, version: &str, value: f64) -> f64 {
        0.5 + value * weight(version)
    }
}
