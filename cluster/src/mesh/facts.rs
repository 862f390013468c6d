//! What must be the same in all processes of a job.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};

use serde::{Deserialize, Serialize};
use tideflow_core::ErrorKind;
use xxhash_rust::xxh3::Xxh3;

/// Settings that differ which a message names.
const NAMED_MAX: usize = 3;

/// What must be the same in all processes of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The job's name.
    pub job: String,
    /// Processes of the job.
    pub processes: usize,
    /// Workers of each.
    pub threads: usize,
    /// A digest of the program's file.
    pub program: String,
    /// A digest of the graph: its operators, their names and order, and what state they keep.
    pub graph: String,
    /// The settings that all must share, as text. Of a secret only whether it is set.
    pub settings: BTreeMap<String, String>,
    /// The newest generation in the job's state store; none for a job that keeps nothing.
    pub generation: Option<u64>,
}

/// Why two processes do not belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// What differs, with both values.
    pub what: String,
    /// Whether it may be gone by itself at the next try.
    pub passing: bool,
}

impl Difference {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        if self.passing { ErrorKind::Unavailable } else { ErrorKind::Invalid }
    }
}

impl Facts {
    /// What differs between this process, `own`, and another one.
    pub(super) fn differs(&self, own: &str, other: &Facts, name: &str) -> Option<Difference> {
        let lasting = |what: String| Some(Difference { what, passing: false });
        let differ = |what: &str, ours: &dyn std::fmt::Display, theirs: &dyn std::fmt::Display| {
            format!("{what}: {ours} in {own}, {theirs} in {name}")
        };
        if self.job != other.job {
            return lasting(differ("another job", &self.job, &other.job));
        }
        if self.processes != other.processes {
            let what = "another number of processes in `workers.hostfile`";
            return lasting(differ(what, &self.processes, &other.processes));
        }
        if self.threads != other.threads {
            return lasting(differ("another `workers.threads`", &self.threads, &other.threads));
        }
        if self.program != other.program {
            return lasting(differ("another program (its digest)", &self.program, &other.program));
        }
        if let Some(what) = self.other_setting(own, other, name) {
            return lasting(what);
        }
        if self.graph != other.graph {
            return lasting(differ("another graph (its digest)", &self.graph, &other.graph));
        }
        if self.generation != other.generation {
            let shown = |generation: Option<u64>| match generation {
                Some(generation) => generation.to_string(),
                None => "none".to_string(),
            };
            let (ours, theirs) = (shown(self.generation), shown(other.generation));
            let what = "another generation in the state store, which all processes must share";
            return Some(Difference { what: differ(what, &ours, &theirs), passing: true });
        }
        None
    }

    fn other_setting(&self, own: &str, other: &Facts, name: &str) -> Option<String> {
        let mut keys: Vec<_> = self.settings.keys().chain(other.settings.keys()).collect();
        keys.sort();
        keys.dedup();
        let differing =
            keys.into_iter().filter(|key| self.settings.get(*key) != other.settings.get(*key));
        let differing: Vec<_> = differing.collect();
        let shown = |facts: &Facts, key: &str| {
            facts.settings.get(key).cloned().unwrap_or_else(|| "not set".to_string())
        };
        let named = differing.iter().take(NAMED_MAX).map(|key| {
            format!("`{key}` is {} in {own}, {} in {name}", shown(self, key), shown(other, key))
        });
        let named: Vec<_> = named.collect();
        let more = match differing.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        (!named.is_empty()).then(|| format!("another setting: {}{more}", named.join("; ")))
    }
}

/// A digest of this process's program, as it is on disk.
pub(crate) fn program_digest() -> io::Result<String> {
    let mut file = BufReader::with_capacity(1 << 20, File::open("/proc/self/exe")?);
    let (mut digest, mut buffer) = (Xxh3::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:032x}", digest.digest128())),
            read => digest.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            job: "health".into(),
            processes: 2,
            threads: 1,
            program: "aa".into(),
            graph: "bb".into(),
            settings: BTreeMap::from([("window.length_ms".into(), "60000".into())]),
            generation: Some(4),
        }
    }

    fn told(other: Facts) -> (String, bool) {
        let found = facts().differs("process 0", &other, "process 1").expect("they differ");
        (found.what, found.passing)
    }

    #[test]
    fn what_differs_is_told_with_both_values() {
        assert_eq!(facts().differs("a", &facts(), "b"), None);
        let lasting = |other, words: &str| assert_eq!(told(other), (words.to_string(), false));
        lasting(
            Facts { job: "view".into(), ..facts() },
            "another job: health in process 0, view in process 1",
        );
        lasting(
            Facts { processes: 3, ..facts() },
            "another number of processes in `workers.hostfile`: 2 in process 0, 3 in process 1",
        );
        lasting(
            Facts { threads: 4, ..facts() },
            "another `workers.threads`: 1 in process 0, 4 in process 1",
        );
        lasting(
            Facts { program: "cc".into(), ..facts() },
            "another program (its digest): aa in process 0, cc in process 1",
        );
        lasting(
            Facts { graph: "dd".into(), ..facts() },
            "another graph (its digest): bb in process 0, dd in process 1",
        );
        let words = "another generation in the state store, which all processes must share: 4 in process 0, none in \
                     process 1";
        assert_eq!(told(Facts { generation: None, ..facts() }), (words.to_string(), true));
    }

    #[test]
    fn of_settings_that_differ_the_first_are_named() {
        let mut other = facts();
        other.settings.insert("window.length_ms".into(), "30000".into());
        let words = "another setting: `window.length_ms` is 60000 in process 0, 30000 in process 1";
        assert_eq!(told(other.clone()), (words.to_string(), false));
        for key in ["a", "b", "c"] {
            other.settings.insert(key.into(), "1".into());
        }
        let (what, _) = told(other);
        assert!(what.starts_with("another setting: `a` is not set in process 0, 1 in process 1; "));
        assert!(what.ends_with("; and 1 more"), "{what}");
    }

    #[test]
    fn a_program_has_one_digest() {
        let digest = program_digest().expect("it is readable");
        assert_eq!((digest.len(), &digest), (32, &program_digest().expect("it is readable")));
    }
}
