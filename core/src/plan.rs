//! What a graph consists of, and what must hold before it may start.

use std::collections::{BTreeMap, BTreeSet};

use crate::{DeadLetters, ErrorKind, StateForm};

/// One source, operator or sink of a graph. Its name is its identity.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Node {
    /// Position in [`Plan::nodes`].
    pub id: usize,
    /// `source`, `operator` or `sink`.
    pub kind: &'static str,
    /// The name given in the graph.
    pub name: String,
    /// What it is, with the settings that matter.
    pub about: String,
}

/// A stream from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Edge {
    /// The node it leaves.
    pub from: usize,
    /// The node it enters.
    pub to: usize,
    /// Which of the outputs, where there are several: `late`, `rejected`, …
    pub label: &'static str,
}

/// What each source of a graph reads, by the source's name: [`crate::SourceSpec::input`].
pub type Inputs = BTreeMap<String, Option<String>>;

/// Something that must hold before the graph starts.
pub struct Check {
    /// What is checked, as a person would say it.
    pub what: String,
    /// Which check it is: the same is made once.
    pub key: String,
    /// What must have been found well before this makes sense: the key of another check.
    pub after: Option<String>,
    /// Whether a start goes on though it has failed: a job that goes on may not need it, and a start that does
    /// finds out by itself.
    pub advisory: bool,
    /// Checks it: what was found, or what is wrong.
    pub run: Box<dyn Fn() -> Result<String, CheckFailure>>,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailure {
    /// What to do about it.
    pub kind: ErrorKind,
    /// Expected and found.
    pub message: String,
}

/// A graph as it is built: its nodes, its streams and its checks.
#[derive(Default)]
pub struct Plan {
    /// In the order in which the graph names them.
    pub nodes: Vec<Node>,
    /// In the order in which the graph connects them.
    pub edges: Vec<Edge>,
    /// In the order of the nodes.
    pub checks: Vec<Check>,
    /// What each source reads, by its name.
    pub inputs: Inputs,
    /// The sources that go on where records are gone which they have not read.
    pub may_lose: BTreeSet<String>,
    /// Of the operators that keep state, in the order of the nodes.
    pub states: Vec<StateForm>,
    /// Where dead letters go, in the order of the nodes.
    pub dead_letters: Vec<Box<dyn DeadLetters>>,
}

impl Plan {
    /// Runs the checks one after the other: each as it is asked for.
    pub fn findings(&self) -> impl Iterator<Item = (&Check, Result<String, CheckFailure>)> {
        // What was wrong with each, if anything was.
        let mut seen = BTreeMap::<&str, Option<&str>>::new();
        self.checks.iter().filter_map(move |check| {
            if seen.contains_key(check.key.as_str()) {
                return None;
            }
            let missing = check.after.as_deref().and_then(|key| *seen.get(key)?);
            let outcome = match missing {
                None => (check.run)(),
                Some(other) => Err(CheckFailure {
                    kind: ErrorKind::Unavailable,
                    message: format!("not checked, because of {other}"),
                }),
            };
            seen.insert(&check.key, outcome.is_err().then_some(check.what.as_str()));
            Some((check, outcome))
        })
    }

    /// The graph in the DOT language, left to right.
    pub fn dot(&self, name: &str) -> String {
        let quote = |s: &str| s.replace('\\', "\\\\").replace('"', "\\\"");
        let mut dot =
            format!("digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n", quote(name));
        for n in &self.nodes {
            let shape = match n.kind {
                "source" => ", shape=cds",
                "sink" => ", shape=folder",
                _ => "",
            };
            let (name, about) = (quote(&n.name), quote(&n.about));
            dot += &format!("  n{} [label=\"{name}\\n{about}\"{shape}];\n", n.id);
        }
        for e in &self.edges {
            let label = if e.label.is_empty() {
                String::new()
            } else {
                format!(" [label=\"{}\"]", quote(e.label))
            };
            dot += &format!("  n{} -> n{}{label};\n", e.from, e.to);
        }
        dot + "}\n"
    }

    /// The graph as JSON: `{"graph","nodes":[{id,kind,name,about}],"edges":[{from,to,label}]}`.
    pub fn json(&self, name: &str) -> serde_json::Value {
        let state = |form: &StateForm| {
            let StateForm { operator, version, meaning, .. } = form;
            serde_json::json!({ "operator": operator, "version": version, "meaning": meaning })
        };
        let states: Vec<_> = self.states.iter().map(state).collect();
        serde_json::json!({ "graph": name, "nodes": self.nodes, "edges": self.edges, "states": states })
    }
}
