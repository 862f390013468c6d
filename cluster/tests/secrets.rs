//! Whatever is done with a secret, it is not printed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;

use proptest::prelude::*;
use serde::Deserialize;
use tideflow_cluster::settings::{Inputs, Schema, Settings};
use tideflow_cluster::{FRAMEWORK_DEFAULTS, FrameworkConfig};
use tideflow_core::Secret;

const DEFAULTS: &str = "\
# A graph.
[graph]
# A marked one.
# @secret
marked = \"\"
# A named one.
api_token = \"\"
# A number.
times = 1
# Free.
[graph.options]
";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Graph {
    marked: Secret,
    api_token: Secret,
    times: u8,
    options: BTreeMap<String, String>,
}

/// A struct that refuses secrets, so that its messages are about them.
#[derive(Debug, Deserialize)]
struct Refusing {
    marked: u8,
    api_token: bool,
    options: BTreeMap<String, u8>,
}

/// Everything that is ever shown of settings.
fn shown(inputs: &Inputs) -> String {
    let schema = Schema::read(&[FRAMEWORK_DEFAULTS, DEFAULTS]).unwrap();
    let (settings, problems) = Settings::read(schema, inputs);
    let mut out = format!("{settings:?}\n{}\n{problems:?}\n", settings.toml());
    let framework = FrameworkConfig::read(&settings);
    let _ = writeln!(out, "{framework:?}");
    let refusing = settings.section::<Refusing>("graph");
    let _ = writeln!(out, "{:?}", refusing.map(|r| (r.marked, r.api_token, r.options)));
    if let Ok(graph) = settings.section::<Graph>("graph") {
        // The values of free-form tables are the graph's to hide.
        let _ = writeln!(out, "{:?} {:?} {}", graph.marked, graph.api_token, graph.times);
        assert!(graph.options.len() < 9);
    }
    for problem in problems {
        let _ = writeln!(out, "{problem}");
    }
    out
}

const SECRET_KEYS: [&str; 5] = [
    "graph.marked",
    "graph.api_token",
    "http.token",
    "graph.options.ssl.key.password",
    "graph.options.client_secret",
];

proptest! {
    #[test]
    fn a_secret_is_in_no_output(
        secret in "[A-Za-z0-9+/!$%&§]{12,24}",
        key in prop::sample::select(&SECRET_KEYS[..]),
        way in 0..9_usize,
        cut in 0..40_usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        std::fs::write(&kept, &secret).unwrap();
        let mut inputs = Inputs::default();
        let path = folder.path().join("t.toml");
        let mut text = String::new();
        match way {
            0 => inputs.flags.push((key.into(), secret.clone())),
            1 => {
                let name = tideflow_cluster::settings::variable(key);
                inputs.env.push((name.into(), OsString::from(&secret)));
            }
            2 => text = format!("{key} = \"{secret}\"\n"),
            // By reference.
            3 => inputs.flags.push((key.into(), format!("file:{}", kept.display()))),
            4 => {
                inputs.env.push(("KEPT".into(), OsString::from(&secret)));
                text = format!("{key} = \"env:KEPT\"\n");
            }
            // Mistyped, of the wrong kind, twice, and in a file that breaks somewhere.
            5 => inputs.flags.push((format!("{key}x"), secret.clone())),
            6 => text = format!("{key} = [\"{secret}\"]\nhttp = \"{secret}\"\n"),
            7 => text = format!("{key} = \"{secret}\"\n{key} = \"{secret}\"\n"),
            _ => {
                text = format!("{key} = \"{secret}\"\n");
                let cut = text.floor_char_boundary(cut);
                text.insert(cut, '"');
            }
        }
        std::fs::write(&path, text).unwrap();
        inputs.file = Some(path);
        let out = shown(&inputs);
        prop_assert!(!out.contains(&secret), "{out}");
    }
}
