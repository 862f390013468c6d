//! Layers of settings, and the exact words of everything that can be wrong with them.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::Deserialize;
use tempfile::TempDir;
use tideflow_cluster::settings::{Inputs, Schema, Settings};
use tideflow_cluster::{FRAMEWORK_DEFAULTS, FrameworkConfig, OnStop};
use tideflow_core::{EpochSettings, Secret};

const DEFAULTS: &str = "\
# A graph.
[graph]
# How often.
# @min 1
# @max 9
times = 3
# A share.
share = 0.5
# On or off.
on = true
# Names.
names = [\"a\"]
# One of two.
# @choices left | right
side = \"left\"
# A key.
api_token = \"\"
# Free.
[graph.options]
";

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Graph {
    times: u8,
    share: f64,
    on: bool,
    names: Vec<String>,
    side: String,
    api_token: Secret,
    options: BTreeMap<String, String>,
}

fn schema() -> Schema {
    Schema::read(&[FRAMEWORK_DEFAULTS, DEFAULTS]).unwrap()
}

struct Given {
    folder: TempDir,
    inputs: Inputs,
}

fn given(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Given {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    std::fs::write(&path, file).unwrap();
    let env = env.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect();
    let flags = flags.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    Given { folder, inputs: Inputs { file: Some(path), env, flags } }
}

impl Given {
    fn load(&self) -> Settings {
        Settings::load(schema(), &self.inputs).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// The problems, with the folder cut off.
    fn problems(&self) -> Vec<String> {
        let (settings, mut problems) = Settings::read(schema(), &self.inputs);
        problems.extend(FrameworkConfig::read(&settings).err().into_iter().flat_map(|r| r.0));
        problems.extend(settings.section::<Graph>("graph").err().into_iter().flat_map(|r| r.0));
        let folder = format!("{}/", self.folder.path().display());
        problems.iter().map(|p| p.to_string().replace(&folder, "")).collect()
    }
}

fn from_file(text: &str) -> Vec<String> {
    given(text, &[], &[]).problems()
}

fn from_env(name: &str, value: &str) -> Vec<String> {
    given("", &[(name, value)], &[]).problems()
}

fn from_flag(name: &str, value: &str) -> Vec<String> {
    given("", &[], &[(name, value)]).problems()
}

#[test]
fn the_defaults_of_the_framework_are_its_typed_configuration() {
    let settings = given("", &[], &[]).load();
    let config = FrameworkConfig::read(&settings).unwrap();
    assert_eq!((config.workers.threads, config.workers.process), (1, 0));
    // A run without a program is paced the same.
    assert_eq!(EpochSettings::from(&config.epochs), EpochSettings::default());
    assert_eq!((config.run.on_stop, config.run.stop_timeout_ms), (OnStop::Suspend, 10_000));
    assert_eq!(config.http.bind, "127.0.0.1:9464");
    assert!(config.hosts(&settings).unwrap().is_empty());
    assert!(schema().keys().all(|key| !key.doc.is_empty()));
    assert!(schema().sections().iter().all(|s| s.path == "graph.options" || !s.doc.is_empty()));
}

#[test]
fn later_layers_win_key_by_key() {
    let file = "graph.times = 4\ngraph.share = 1\n[graph.options]\na.b = 1\nc = \"file\"\n";
    let env = [
        ("TIDEFLOW__GRAPH__SHARE", "0.25"),
        ("TIDEFLOW__GRAPH__NAMES", "x, y"),
        ("TIDEFLOW__GRAPH__OPTIONS__C", "variable"),
        ("TIDEFLOW__GRAPH__OPTIONS__D__E", "variable"),
        ("TIDEFLOW_OTHER", "not ours"),
    ];
    let flags = [
        ("graph.names", "first"),
        ("graph.names", "[\"last\", \"z\"]"),
        ("graph.options.d.e", "flag"),
        ("graph.on", "false"),
    ];
    let settings = given(file, &env, &flags).load();
    let options = [("a.b", "1"), ("c", "variable"), ("d.e", "flag")];
    let expected = Graph {
        times: 4,
        share: 0.25,
        on: false,
        names: vec!["last".into(), "z".into()],
        side: "left".into(),
        api_token: Secret::default(),
        options: options.map(|(k, v)| (k.into(), v.into())).into(),
    };
    assert_eq!(settings.section::<Graph>("graph").unwrap(), expected);
    assert!(settings.place("graph.times").ends_with("t.toml:1"));
    assert_eq!(settings.place("graph.share"), "variable `TIDEFLOW__GRAPH__SHARE`");
    assert_eq!(settings.place("graph.options.d.e"), "flag `--graph.options.d.e`");
    assert_eq!(settings.place("graph.side"), "default");
    assert_eq!(settings.set_count(), 7);
}

#[test]
fn golden_unknown_names_come_with_the_nearest_one() {
    let file = "[graph]\ntime = 1\nqqqqqqqq = 2\n[workers]\ninterval_ms = 1\n[graf]\nx = 1\n[zz]\n";
    assert_eq!(
        from_file(file),
        [
            "t.toml:2: unknown key `graph.time`, did you mean `graph.times`?",
            "t.toml:3: unknown key `graph.qqqqqqqq`, expected `graph.times`, `graph.share`, \
             `graph.on`, `graph.names`, `graph.side`, `graph.api_token` or `graph.options`",
            "t.toml:5: unknown key `workers.interval_ms`, did you mean `epochs.interval_ms`?",
            "t.toml:6: unknown section `graf`, did you mean `graph`?",
            "t.toml:8: unknown section `zz`, expected `workers`, `epochs`, `run`, `http`, `log` or \
             `graph`",
        ]
    );
    assert_eq!(
        from_env("TIDEFLOW__GRAPH__TIME", "1"),
        ["variable `TIDEFLOW__GRAPH__TIME`: unknown key `graph.time`, did you mean \
          `TIDEFLOW__GRAPH__TIMES`?"]
    );
    assert_eq!(
        from_flag("graph.time", "1"),
        ["flag `--graph.time`: unknown key `graph.time`, did you mean `--graph.times`?"]
    );
}

#[test]
fn golden_wrong_kinds_say_what_was_found_and_expected() {
    let file = "\
workers = 3
http = \"hunter2\"
[graph]
times = \"four\"
share = \"x\"
on = 1
names = [1]
side = 1979-05-27
[graph.options]
list = [1]
day = 1979-05-27
[epochs.interval_ms]
x = 1
[[log]]
level = \"info\"
";
    assert_eq!(
        from_file(file),
        [
            "t.toml:1: `workers` is `3`, expected a table",
            "t.toml:2: `http` is a text, expected a table",
            "t.toml:4: `graph.times` is the text `four`, expected a whole number",
            "t.toml:5: `graph.share` is the text `x`, expected a number",
            "t.toml:6: `graph.on` is `1`, expected `true` or `false`",
            "t.toml:7: `graph.names` is the list `[1]`, expected a list, each item a text",
            "t.toml:8: `graph.side` is a date, expected a text",
            "t.toml:10: `graph.options.list` is the list `[1]`, expected a text, number or boolean",
            "t.toml:11: `graph.options.day` is a date, expected a text, number or boolean",
            "t.toml:12: `epochs.interval_ms` is a table, expected a whole number",
            "t.toml:14: `log` is a list, expected a table",
        ]
    );
}

#[test]
fn golden_texts_of_variables_and_flags_are_read_by_the_kind_of_the_default() {
    assert_eq!(
        from_env("TIDEFLOW__GRAPH__TIMES", "four"),
        ["variable `TIDEFLOW__GRAPH__TIMES`: `graph.times` is `four`, expected a whole number"]
    );
    assert_eq!(
        from_flag("graph.on", "yes"),
        ["flag `--graph.on`: `graph.on` is `yes`, expected `true` or `false`"]
    );
    assert_eq!(
        from_flag("graph.options", "1"),
        ["flag `--graph.options`: `graph.options` is a table, expected a name after it, as in \
          `--graph.options.NAME`"]
    );
    assert_eq!(
        from_env("TIDEFLOW__GRAPH", "1"),
        ["variable `TIDEFLOW__GRAPH`: `graph` is a section, expected an option in it, such as \
          `TIDEFLOW__GRAPH__TIMES`"]
    );
}

#[test]
fn golden_values_outside_what_is_allowed_are_refused() {
    let file = "[graph]\ntimes = 10\nside = \"top\"\n[epochs]\ninterval_ms = 0\n";
    assert_eq!(
        from_file(file),
        [
            "t.toml:2: `graph.times` is `10`, expected 1 to 9",
            "t.toml:3: `graph.side` is the text `top`, expected `left` or `right`",
            "t.toml:5: `epochs.interval_ms` is `0`, expected 1 to 60000",
        ]
    );
    let file = "graph.share = nan\nrun.stop_timeout_ms = 0";
    assert_eq!(
        from_file(file),
        [
            "t.toml:1: `graph.share` is `nan`, expected a number",
            "t.toml:2: `run.stop_timeout_ms` is `0`, expected 1 or more",
        ]
    );
}

#[test]
fn golden_files_that_cannot_be_read_are_named() {
    let mut absent = given("", &[], &[]);
    absent.inputs.file = Some(absent.folder.path().join("absent.toml"));
    assert_eq!(
        absent.problems(),
        ["absent.toml: cannot be read: No such file or directory (os error 2)"]
    );
    assert_eq!(
        from_file("[graph]\ntimes = 1\ntimes = 2\n"),
        ["t.toml:3:1: not TOML: duplicate key"]
    );
    let unclosed = from_file("[graph]\n\napi_token = \"hunter2\n");
    assert_eq!(unclosed.len(), 1);
    assert!(unclosed[0].starts_with("t.toml:3:"), "{unclosed:?}");
    assert!(!unclosed[0].contains("hunter2"), "{unclosed:?}");
    let twice = from_file("[graph.options]\na.b = 1\n\"a.b\" = 2\n");
    assert_eq!(twice, ["t.toml:3: `graph.options.a.b` is set twice"]);
}

#[test]
fn golden_all_problems_come_in_one_message() {
    let given = given("graph.times = 0\n", &[("TIDEFLOW__X__Y", "1")], &[("graph.on", "maybe")]);
    let refused = Settings::load(schema(), &given.inputs).unwrap_err().to_string();
    let folder = format!("{}/", given.folder.path().display());
    assert_eq!(
        refused.replace(&folder, ""),
        "configuration refused, 3 problems:\n  \
         t.toml:1: `graph.times` is `0`, expected 1 to 9\n  \
         variable `TIDEFLOW__X__Y`: unknown key `x.y`, expected `workers`, `epochs`, `run`, \
         `http`, `log` or `graph`\n  \
         flag `--graph.on`: `graph.on` is `maybe`, expected `true` or `false`"
    );
}

#[test]
fn golden_options_that_do_not_go_together_are_refused() {
    let public = "`0.0.0.0:9464` is reachable by other machines, expected a loopback address or \
                  an `http.token`";
    let level = "found `inof`, expected a level (`error`, `warn`, `info`, `debug`, `trace` or \
                 `off`) or `part=level`";
    let given = given(
        "[workers]\nprocess = 2\n[http]\nbind = \"0.0.0.0:9464\"\n",
        &[("TIDEFLOW__LOG__LEVEL", "inof")],
        &[],
    );
    assert_eq!(
        given.problems(),
        [
            format!("variable `TIDEFLOW__LOG__LEVEL`: `log.level`: {level}"),
            format!("t.toml:4: `http.bind`: {public}"),
            "t.toml:2: `workers.process` is `2`, expected 0 without a `workers.hostfile`".into(),
        ]
    );
}

#[test]
fn golden_what_a_struct_refuses_is_told_with_its_place_all_of_it() {
    #[derive(Debug, Deserialize)]
    struct Narrow {
        times: Few,
        side: Side,
        api_token: Short,
        options: BTreeMap<String, u8>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "u8")]
    struct Few(u8);
    impl TryFrom<u8> for Few {
        type Error = String;
        fn try_from(times: u8) -> Result<Few, String> {
            if times < 5 { Ok(Few(times)) } else { Err(format!("{times} times are too many")) }
        }
    }
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Short(String);
    impl TryFrom<String> for Short {
        type Error = String;
        fn try_from(token: String) -> Result<Short, String> {
            if token.is_empty() { Ok(Short(token)) } else { Err(format!("{token} is too long")) }
        }
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Side {
        Left,
    }
    let file = "[graph]\ntimes = 7\nside = \"right\"\n[graph.options]\na = 1\nb = \"x\"\nc = 300\n";
    let given = given(file, &[], &[("graph.api_token", "hunter2")]);
    let refused = given.load().section::<Narrow>("graph").unwrap_err().0;
    let folder = format!("{}/", given.folder.path().display());
    let refused: Vec<_> = refused.iter().map(|p| p.to_string().replace(&folder, "")).collect();
    assert_eq!(
        refused,
        [
            "t.toml:2: `graph.times`: 7 times are too many",
            "t.toml:3: `graph.side`: enum Side does not have variant constructor right",
            "flag `--graph.api_token`: `graph.api_token`: *** is refused",
            "t.toml:6: `graph.options.b` is string \"x\", expected an integer",
            "t.toml:7: `graph.options.c` is 64-bit unsigned integer `300`, expected an unsigned 8 \
             bit integer",
        ]
    );
    // The compiler cannot see that serde reads them.
    let _ = |n: Narrow| (n.times.0, matches!(n.side, Side::Left), n.api_token.0, n.options);
}

#[test]
fn secrets_come_from_where_their_references_lead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "from a file\r\n").unwrap();
    let file = format!(
        "[graph.options]\n\"sasl.password\" = \"file:{}\"\nplain = \"env:HOME\"\n",
        path.display()
    );
    let env = [("KEY", "from a variable")];
    let settings = given(&file, &env, &[("graph.api_token", "env:KEY")]).load();
    let graph: Graph = settings.section("graph").unwrap();
    assert_eq!(graph.api_token.reveal(), "from a variable");
    assert_eq!(graph.options["sasl.password"], "from a file");
    assert_eq!(graph.options["plain"], "env:HOME", "only secrets are references");
    let printed = settings.toml();
    assert!(printed.contains("api_token = \"***\"  # flag `--graph.api_token`, as env:KEY\n"));
    assert!(printed.contains(&format!(", as file:{}\n", path.display())), "{printed}");
    assert!(!printed.contains("from a file") && !printed.contains("from a variable"), "{printed}");
}

#[test]
fn golden_references_that_lead_nowhere_are_refused() {
    let problems = from_flag("graph.api_token", "env:ABSENT");
    assert_eq!(
        problems,
        ["flag `--graph.api_token`: `graph.api_token`: variable `ABSENT` is not set"]
    );
    assert_eq!(
        from_flag("graph.api_token", "file:/no/such"),
        ["flag `--graph.api_token`: `graph.api_token`: file `/no/such` cannot be read: No such \
          file or directory (os error 2)"]
    );
    assert_eq!(
        given("", &[("EMPTY", "")], &[("graph.api_token", "env:EMPTY")]).problems(),
        ["flag `--graph.api_token`: `graph.api_token`: variable `EMPTY` is empty"]
    );
    for value in ["12345", "{ file = \"/no/such\" }"] {
        assert_eq!(
            from_file(&format!("graph.api_token = {value}\n")),
            ["t.toml:1: `graph.api_token` is ***, expected a text, `env:NAME` or `file:PATH`"]
        );
    }
}

#[test]
fn the_printed_settings_are_settings_again() {
    let file = "[graph]\nshare = 2\nnames = [\"q\\\"\", \"b\\n\"]\n[graph.options]\na.b = 1.5\n\"c d\" = \"e\"\n";
    let settings = given(file, &[], &[("run.on_stop", "drain")]).load();
    let again = given(&settings.toml(), &[], &[]).load();
    let graph = |s: &Settings| s.section::<Graph>("graph").unwrap();
    assert_eq!(graph(&settings), graph(&again));
    assert_eq!(FrameworkConfig::read(&again).unwrap().run.on_stop, OnStop::Drain);
    let defaults = given(&schema().toml(), &[], &[]).load();
    assert_eq!(graph(&defaults), graph(&given("", &[], &[]).load()));
}
