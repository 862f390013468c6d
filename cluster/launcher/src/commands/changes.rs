//! What differs between what is wanted and what is on the hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::cluster_file::Host;
use crate::release::{CONFIG, MODELS, NATIVE, Release, SUPERVISOR, short};
use crate::wire::{Assigned, Facts};

/// One thing that would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of what kind: `host`, `binary`, `setting`, `graph`, `state` and so on.
    pub what: &'static str,
    /// What changes how.
    pub how: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {}", self.what, self.how)
    }
}

/// All that would change. `wanted` is the release and what each process is assigned, `hosts` are all hosts
/// with what is there.
pub fn between(
    (release, assigned): (&Release, &[Assigned]),
    hosts: &[(&Host, &Facts)],
) -> Vec<Change> {
    let mut changes = Changes::default();
    changes.hosts(assigned, hosts);
    let old = hosts.iter().find_map(|(_, facts)| facts.current.as_ref());
    match old {
        None => changes.first(release),
        Some((_, old)) if old.digest() != release.digest() => changes.release(old, release),
        Some(_) => {}
    }
    for ((host, facts), wanted) in hosts.iter().zip(assigned) {
        let is_wanted = facts.current.as_ref().is_some_and(|(name, _)| release.is_named(name));
        let others = old.is_some_and(|(name, _)| release.is_named(name));
        if !is_wanted && others {
            changes.add("release", format!("is brought to {}", host.name));
        }
        if is_wanted && facts.assigned.is_some() && !facts.running {
            changes.add("process", format!("of {} does not run, and is started", host.name));
        }
        // Whatever it is that no other line tells.
        if changes.0.is_empty() && facts.assigned.as_ref().is_some_and(|old| old != wanted) {
            changes.add("process", format!("of {} is placed anew", host.name));
        }
    }
    changes.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, what: &'static str, how: impl Into<String>) {
        self.0.push(Change { what, how: how.into() });
    }

    fn hosts(&mut self, assigned: &[Assigned], hosts: &[(&Host, &Facts)]) {
        for (index, (host, facts)) in hosts.iter().enumerate() {
            let name = format!("{} ({})", host.name, host.address);
            let was = facts.assigned.as_ref().map(|assigned| assigned.process);
            match (was, index < assigned.len()) {
                (None, true) => self.add("host", format!("+ {name} runs process {index}")),
                (Some(_), false) => self.add("host", format!("- {name} runs nothing any more")),
                (Some(was), true) if was != index => {
                    self.add("host", format!("~ {name} runs process {index}, it was {was}"));
                }
                _ => {}
            }
        }
        let old = hosts.iter().find_map(|(_, facts)| facts.assigned.as_ref());
        let Some((old, new)) = old.zip(assigned.first()) else { return };
        let known = |old: &Host| hosts.iter().any(|(host, _)| host.address == old.address);
        for gone in old.hosts.iter().filter(|host| !known(host)) {
            self.add("host", format!("- {} ({}) is no host any more", gone.name, gone.address));
        }
        self.placement(old, new);
        let certs = hosts.iter().zip(assigned).filter(|((_, facts), new)| {
            facts.assigned.as_ref().is_some_and(|old| old.certs != new.certs)
        });
        for ((host, _), _) in certs {
            self.add("certificate", format!("of {} is another", host.name));
        }
    }

    /// What processes are told beside their settings.
    fn placement(&mut self, old: &Assigned, new: &Assigned) {
        let mut value = |what: &str, old: String, new: String| {
            if old != new {
                self.add("process", format!("{what}: {old} → {new}"));
            }
        };
        value("processes", old.hosts.len().to_string(), new.hosts.len().to_string());
        value("threads", old.threads.to_string(), new.threads.to_string());
        value("port", old.cluster_port.to_string(), new.cluster_port.to_string());
        value("pages", old.http.clone(), new.http.clone());
        value("limits", format!("{:?}", old.limits), format!("{:?}", new.limits));
        value("writable", format!("{:?}", old.writable), format!("{:?}", new.writable));
        let moved = old.hosts != new.hosts && old.hosts.len() == new.hosts.len();
        if moved {
            self.add("process", "the list of hosts is another");
        }
        let names: BTreeSet<_> = old.secrets.keys().chain(new.secrets.keys()).collect();
        for name in
            names.into_iter().filter(|name| old.secrets.get(*name) != new.secrets.get(*name))
        {
            self.add("secret", format!("`{name}` is another"));
        }
    }

    fn first(&mut self, release: &Release) {
        let objects = release.objects();
        let bytes: u64 = objects.iter().map(|object| object.bytes).sum();
        let size = format!("{} files, {:.1} MiB", objects.len(), bytes as f64 / f64::from(1 << 20));
        self.add("release", format!("the first: {size}"));
    }

    fn release(&mut self, old: &Release, new: &Release) {
        let digest = |release: &Release, path: &str| {
            release.files.get(path).map_or("none", |object| short(&object.digest)).to_owned()
        };
        for (what, old_path, new_path) in
            [("binary", &*old.binary, &*new.binary), ("tideflow", SUPERVISOR, SUPERVISOR)]
        {
            let (was, is) = (digest(old, old_path), digest(new, new_path));
            if was != is {
                self.add(what, format!("{was} → {is}"));
            }
        }
        for (what, below) in [("models", MODELS), ("native", NATIVE)] {
            let count = changed_below(below, old, new);
            if count > 0 {
                self.add(what, format!("{count} files are others"));
            }
        }
        let keys: BTreeSet<_> = old.settings.keys().chain(new.settings.keys()).collect();
        let before = self.0.len();
        for key in keys {
            match (old.settings.get(key), new.settings.get(key)) {
                (Some(was), Some(is)) if was != is => {
                    self.add("setting", format!("{key}: {was} → {is}"))
                }
                (Some(was), None) => self.add("setting", format!("- {key} (it was {was})")),
                (None, Some(is)) => self.add("setting", format!("+ {key} = {is}")),
                _ => {}
            }
        }
        if self.0.len() == before && digest(old, CONFIG) != digest(new, CONFIG) {
            self.add("setting", "the file is another, what it says is the same");
        }
        self.graph(&old.graph, &new.graph);
    }

    /// Operators, and what they keep, by name: state moves with an operator's name.
    fn graph(&mut self, old: &Value, new: &Value) {
        if old.is_null() || new.is_null() {
            return;
        }
        let (was, is) = (named(&old["nodes"]), named(&new["nodes"]));
        for (name, what) in is.iter().filter(|(name, _)| !was.contains_key(*name)) {
            self.add("graph", format!("+ `{name}` {what}"));
        }
        for (name, what) in was.iter().filter(|(name, _)| !is.contains_key(*name)) {
            self.add("graph", format!("- `{name}` {what}"));
        }
        let same = was.keys().eq(is.keys());
        if same && old["edges"] != new["edges"] {
            self.add("graph", "is connected in another way");
        }
        let (was, is) = (named(&old["states"]), named(&new["states"]));
        for (name, what) in &is {
            match was.get(name) {
                None => self.add("state", format!("of `{name}` begins empty")),
                Some(before) if before != what => {
                    self.add("state", format!("of `{name}` is read as {what}, it was {before}"));
                }
                Some(_) => {}
            }
        }
        for name in was.keys().filter(|name| !is.contains_key(*name)) {
            self.add("state", format!("of `{name}` is read by nobody any more"));
        }
    }
}

fn changed_below(folder: &str, old: &Release, new: &Release) -> usize {
    let below = |path: &&String| path.starts_with(&format!("{folder}/"));
    let paths: BTreeSet<_> = old.files.keys().chain(new.files.keys()).filter(below).collect();
    paths.into_iter().filter(|path| old.files.get(*path) != new.files.get(*path)).count()
}

/// The items of a list by their name, and what else they say. A list of another shape has none.
fn named(list: &Value) -> BTreeMap<String, String> {
    let items = list.as_array().into_iter().flatten();
    let named = items.filter_map(|item| {
        let Value::Object(item) = item else { return None };
        let key = ["operator", "name"]
            .into_iter()
            .find(|key| item.get(*key).is_some_and(Value::is_string))?;
        let rest = item.iter().filter(|(name, _)| *name != key && *name != "id");
        let rest: Vec<_> = rest.map(|(name, value)| format!("{name} {}", plain(value))).collect();
        Some((item[key].as_str()?.to_owned(), rest.join(", ")))
    });
    named.collect()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster_file::Limits;
    use crate::release::{Object, digest_of};

    fn host(name: &str) -> Host {
        Host { name: name.into(), address: format!("{name}.example") }
    }

    fn release(content: &str, settings: &[(&str, &str)], graph: Value) -> Release {
        let object =
            Object { digest: digest_of(content.as_bytes()), bytes: 3 << 20, executable: true };
        Release {
            binary: "bin/g".into(),
            files: [("bin/g".to_string(), object)].into(),
            settings: settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            graph,
        }
    }

    fn assigned(process: usize, hosts: &[Host]) -> Assigned {
        Assigned {
            process,
            hosts: hosts.to_vec(),
            threads: 1,
            cluster_port: 2_101,
            http: "127.0.0.1:9464".into(),
            stop_timeout_ms: 10_000,
            limits: Limits {
                memory: None,
                open_files: 1,
                restart_wait_ms_min: 1,
                restart_wait_ms_max: 1,
            },
            writable: Vec::new(),
            certs: None,
            secrets: BTreeMap::new(),
        }
    }

    fn facts(release: Option<&Release>, assigned: Option<Assigned>) -> Facts {
        Facts {
            now_ms: 0,
            libc: None,
            releases: Vec::new(),
            current: release.map(|release| (release.name(1), release.clone())),
            previous: None,
            running: assigned.is_some(),
            assigned,
        }
    }

    fn told(wanted: (&Release, &[Assigned]), hosts: &[(&Host, &Facts)]) -> Vec<String> {
        between(wanted, hosts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn golden_a_first_time_and_nothing_to_change_after_it() {
        let hosts = [host("w1")];
        let release = release("p", &[], Value::Null);
        let wanted = [assigned(0, &hosts)];
        let bare = facts(None, None);
        assert_eq!(
            told((&release, &wanted), &[(&hosts[0], &bare)]),
            [
                "host         + w1 (w1.example) runs process 0",
                "release      the first: 1 files, 3.0 MiB"
            ]
        );
        let mut there = facts(Some(&release), Some(wanted[0].clone()));
        assert!(told((&release, &wanted), &[(&hosts[0], &there)]).is_empty());
        there.running = false;
        assert_eq!(
            told((&release, &wanted), &[(&hosts[0], &there)]),
            ["process      of w1 does not run, and is started"]
        );
    }

    #[test]
    fn golden_what_differs_is_told_by_name() {
        let (w1, w2, w3) = (host("w1"), host("w2"), host("w3"));
        let before = json!({
            "nodes": [{"id": 0, "name": "in", "kind": "source"}, {"id": 1, "name": "a", "kind": "operator"}],
            "states": [{"operator": "a", "version": 1}, {"operator": "w", "version": 1}],
        });
        let after = json!({
            "nodes": [{"id": 0, "name": "in", "kind": "source"}, {"id": 1, "name": "b", "kind": "operator"}],
            "states": [{"operator": "b", "version": 1}, {"operator": "w", "version": 2}],
            "unknown": 1,
        });
        let old = release("p", &[("k.a", "1"), ("k.b", "2"), ("k.c", "3")], before);
        let new = release("q", &[("k.a", "1"), ("k.b", "20"), ("k.d", "4")], after);
        let (was, is) = ([w1.clone(), w3.clone()], [w1.clone(), w2.clone()]);
        let mut wanted = [assigned(0, &is), assigned(1, &is)];
        wanted[0].secrets.insert("TIDEFLOW__A__B".into(), "x".into());
        let there = [facts(Some(&old), Some(assigned(0, &was))), facts(None, None)];
        let digest = |text: &str| short(&digest_of(text.as_bytes())).to_owned();
        let expected = [
            "host         + w2 (w2.example) runs process 1".to_string(),
            "host         - w3 (w3.example) is no host any more".into(),
            "process      the list of hosts is another".into(),
            "secret       `TIDEFLOW__A__B` is another".into(),
            format!("binary       {} → {}", digest("p"), digest("q")),
            "setting      k.b: 2 → 20".into(),
            "setting      - k.c (it was 3)".into(),
            "setting      + k.d = 4".into(),
            "graph        + `b` kind operator".into(),
            "graph        - `a` kind operator".into(),
            "state        of `b` begins empty".into(),
            "state        of `w` is read as version 2, it was version 1".into(),
            "state        of `a` is read by nobody any more".into(),
        ];
        assert_eq!(told((&new, &wanted), &[(&w1, &there[0]), (&w2, &there[1])]), expected);
    }

    #[test]
    fn golden_fewer_processes_leave_hosts_with_nothing() {
        let hosts = [host("w1"), host("w2")];
        let release = release("p", &[], Value::Null);
        let wanted = [assigned(0, &hosts[..1])];
        let there = [0, 1].map(|i| facts(Some(&release), Some(assigned(i, &hosts))));
        let expected = [
            "host         - w2 (w2.example) runs nothing any more",
            "process      processes: 2 → 1",
        ];
        assert_eq!(
            told((&release, &wanted), &[(&hosts[0], &there[0]), (&hosts[1], &there[1])]),
            expected
        );
    }
}
