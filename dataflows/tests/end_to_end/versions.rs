//! A model from a real MLflow registry, whose alias moves while it scores and the job is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tideflow::core::kafka::testing::TestBroker;

use crate::crash::start::Start;
use crate::live::{Bound, LIVE, kill_again_and_again, send_until};
use crate::program::{device_health, run};
use crate::python::{model, python};
use crate::topics::{Sent, Topics, dump};

/// A real MLflow server, which ends with the tests.
pub struct Mlflow {
    address: String,
    folder: PathBuf,
}

impl Mlflow {
    pub fn shared() -> &'static Mlflow {
        static SHARED: LazyLock<Mlflow> = LazyLock::new(Mlflow::start);
        &SHARED
    }

    fn start() -> Mlflow {
        let folder = tempfile::tempdir().expect("a folder").keep().join("mlflow");
        let own = std::process::id().to_string();
        let run = Mlflow::script(&folder, &["start", "--while", &own, "--remove"]);
        let (out, err) =
            (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        let address = out.trim().strip_prefix("MLFLOW_TRACKING_URI=http://");
        let address = address.unwrap_or_else(|| panic!("no MLflow server: {out}{err}"));
        Mlflow { address: address.to_string(), folder }
    }

    fn script(folder: &Path, args: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("scripts/mlflow.sh");
        let mut command = Command::new(script);
        command.args(args).arg("--dir").arg(folder).output().expect("it is in the checkout")
    }

    /// Takes it away.
    fn stop(&self) {
        let run = Mlflow::script(&self.folder, &["stop"]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers so many versions of a model: their digests.
    pub fn register(&self, name: &str, folder: &Path, copies: usize) -> Vec<String> {
        let url = self.url();
        let copies = copies.to_string();
        let args = [Path::new(&url), Path::new(name), folder, Path::new(&copies)];
        python("register.py", &args).lines().map(str::to_string).collect()
    }

    /// Has an alias name a version.
    fn point(&self, name: &str, alias: &str, version: &str) {
        let body = json!({"name": name, "alias": alias, "version": version}).to_string();
        let mut stream = TcpStream::connect(&self.address).expect("the server is there");
        write!(
            stream,
            "POST /api/2.0/mlflow/registered-models/alias HTTP/1.1\r\nHost: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// `device_health` with the model that an alias names, and windows of half a second.
fn scoring(topics: &Topics, name: &str) -> Command {
    scoring_from(Mlflow::shared(), topics, name)
}

/// The same from another registry.
fn scoring_from(registry: &Mlflow, topics: &Topics, name: &str) -> Command {
    let mut command = device_health("run", topics, Path::new(&format!("models:/{name}@champion")));
    command.args([
        format!("--model.registry_url={}", registry.url()),
        "--model.poll_ms=100".to_string(),
    ]);
    command.args(LIVE);
    command
}

/// Moves an alias every second.
fn move_until(name: &str, alias: &str, end: &AtomicBool) {
    let mut at = 0;
    while !end.load(Ordering::SeqCst) {
        at += 1;
        Mlflow::shared().point(name, alias, &(1 + at % MODELS.len()).to_string());
        let next = Instant::now() + Duration::from_secs(1);
        while Instant::now() < next && !end.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// Device, end of the window and version of a score.
fn of_score(sent: &Sent) -> (String, i64, String, String) {
    let score = sent.json();
    let text = |name: &str| score[name].as_str().expect("a text").to_string();
    for (header, field) in
        [("model", "model"), ("model_version", "version"), ("model_digest", "digest")]
    {
        assert_eq!(sent.header(header), text(field));
    }
    (
        text("device"),
        score["window_end"].as_i64().expect("a number"),
        text("version"),
        text("digest"),
    )
}

/// The versions of a model whose alias moves.
const MODELS: [&str; 2] = ["health", "retrained"];

/// A job whose model has an alias that moves while it scores and is killed again and again.
struct Moved {
    name: &'static str,
    topics: Topics,
    /// Of its versions.
    digests: Vec<String>,
}

impl Moved {
    /// Runs it until all is scored, with more flags.
    fn run(name: &'static str, alias: &str, more: &[String]) -> Moved {
        let register = |of: &&str| Mlflow::shared().register(name, &model(of), 1);
        let digests = MODELS.iter().flat_map(register).collect();
        Mlflow::shared().point(name, "champion", "1");
        Mlflow::shared().point(name, alias, "1");
        let topics = Topics::new(TestBroker::shared(), 2, 2);
        let command = || {
            let mut command = scoring(&topics, name);
            command.args(more);
            command
        };
        let start = |layout| Start::of(command, layout, None, &[]);
        let end = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| send_until(&topics, &end));
            scope.spawn(|| move_until(name, alias, &end));
            let last = kill_again_and_again(start, 6);
            last.must_publish();
            last.lives_for(last.age() + Duration::from_secs(4), |_| ());
            end.store(true, Ordering::SeqCst);
            // The last readings close every window but their own; draining closes that.
            last.lives_for(last.age() + Duration::from_secs(2), |_| ());
            last.signal("TERM");
            last.end_well();
        });
        Moved { name, topics, digests }
    }

    /// That a version is the one that the epoch is bound to which has closed a window.
    fn check(&self, bound: &Bound, operator: &str, window_end: i64, version: &str, digest: &str) {
        assert_eq!(digest, self.digests[version.parse::<usize>().expect("a number") - 1]);
        let epoch = bound.closed(window_end);
        let expected = format!("{digest}:256:{}/{version}", self.name);
        assert_eq!(bound.epochs[&epoch].1[operator], expected, "epoch {epoch}");
    }

    /// That each window has one score, which is what Keras says of it with the version that it names.
    fn check_scores(&self, scored: &BTreeSet<(String, i64)>) {
        let windows = self.topics.read(&self.topics.windows);
        let folder = tempfile::tempdir().expect("a folder for a while");
        let mut files = ["windows", "scores"].map(|name| folder.path().join(name)).to_vec();
        dump(&files[0], &windows);
        dump(&files[1], &self.topics.read(&self.topics.scores));
        files.extend(MODELS.iter().map(|of| model(&format!("{of}.keras"))));
        let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
        println!("{}", python("scored_by.py", &files));
        let of_window = |sent: &Sent| {
            let window = sent.json();
            (window["device"].as_str().unwrap().to_string(), window["window_end"].as_i64().unwrap())
        };
        assert_eq!(&windows.iter().map(of_window).collect::<BTreeSet<_>>(), scored);
        assert!(scored.len() > 500, "only {} scores", scored.len());
    }
}

#[test]
fn crash_while_an_alias_moves_every_score_is_of_the_version_that_its_epoch_is_bound_to() {
    let moved = Moved::run("moving health", "champion", &[]);
    let bound = Bound::read(&moved.topics);
    let (mut versions, mut scored) = (BTreeSet::new(), BTreeSet::new());
    for sent in moved.topics.read(&moved.topics.scores) {
        let (device, window_end, version, digest) = of_score(&sent);
        moved.check(&bound, "health", window_end, &version, &digest);
        assert!(scored.insert((device.clone(), window_end)), "{device} twice in {window_end}");
        versions.insert(version);
    }
    assert_eq!(versions.len(), MODELS.len(), "each of them has scored");
    let bound: Vec<_> = bound.epochs.values().map(|(_, chosen)| &chosen["health"]).collect();
    let swaps = bound.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(swaps >= 4, "only {swaps} swaps");
    moved.check_scores(&scored);
}

#[test]
fn crash_while_the_alias_of_a_canary_moves_its_scores_are_of_its_epochs_version_and_count_once() {
    let (name, candidates) = ("moving canary", TestBroker::shared().topic("candidates", 2));
    let more = [
        format!("--candidate.reference=models:/{name}@candidate"),
        "--candidate.share=0.4".to_string(),
        "--candidate.publish=true".to_string(),
        format!("--topics.candidates={candidates}"),
    ];
    let moved = Moved::run(name, "candidate", &more);
    let bound = Bound::read(&moved.topics);
    let (mut versions, mut compared) = (BTreeSet::new(), BTreeMap::new());
    for record in moved.topics.read(&candidates).iter().map(Sent::json) {
        let text = |field: &str| record[field].as_str().expect("a text").to_string();
        let window_end = record["window_end"].as_i64().expect("a number");
        let version = text("candidate_version");
        moved.check(&bound, "candidate", window_end, &version, &text("candidate_digest"));
        assert_eq!((&record["version"], &record["published"]), (&json!("1"), &json!(true)));
        versions.insert(version);
        let window = (text("device"), window_end);
        let before = compared.insert(window, record);
        assert_eq!(before, None, "a window is compared twice");
    }
    assert_eq!(versions.len(), MODELS.len(), "each of them has been the candidate");
    let (all, mut scored) = (compared.len(), BTreeSet::new());
    for sent in moved.topics.read(&moved.topics.scores) {
        let (device, window_end, version, digest) = of_score(&sent);
        let window = (device, window_end);
        match compared.remove(&window) {
            Some(of) => {
                assert_eq!(
                    json!([version, digest]),
                    json!([of["candidate_version"], of["candidate_digest"]])
                );
                assert_eq!(sent.json()["score"], of["candidate_score"]);
            }
            None => moved.check(&bound, "health", window_end, &version, &digest),
        }
        assert!(scored.insert(window), "twice: {sent:?}");
    }
    assert!(compared.is_empty(), "compared, and not published: {compared:?}");
    assert!((scored.len() / 5..scored.len() / 2).contains(&all), "{all} of {}", scored.len());
    moved.check_scores(&scored);
}

#[test]
fn fault_a_registry_that_is_away_leaves_the_version_that_scores_to_score_over_a_kill() {
    let registry = Mlflow::start();
    registry.register("kept health", &model("health"), 1);
    registry.point("kept health", "champion", "1");
    let topics = Topics::new(TestBroker::shared(), 2, 2);
    let start = |layout| {
        let command = || scoring_from(&registry, &topics, "kept health");
        Start::of(command, layout, None, &[])
    };
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| send_until(&topics, &end));
        let run = start((1, 1));
        run.must_publish();
        registry.stop();
        run.processes()[0].wait_until("the registry is missed", |m| {
            m.sum("tideflow_model_failures_total", &[]) > 0.0
        });
        let scored = || topics.read(&topics.scores).len();
        let before = scored();
        run.lives_for(run.age() + Duration::from_secs(2), |_| ());
        assert!(scored() > before, "it goes on without the registry");
        run.signal("KILL");
        run.end_however();
        let before = scored();
        let run = start((1, 1));
        run.must_publish();
        run.lives_for(run.age() + Duration::from_secs(2), |_| ());
        assert!(scored() > before, "a start goes on without the registry");
        end.store(true, Ordering::SeqCst);
        run.signal("TERM");
        run.end_well();
    });
    for sent in topics.read(&topics.scores) {
        assert_eq!(of_score(&sent).2, "1");
    }
}

#[test]
fn fault_a_version_that_is_not_what_the_graph_needs_changes_nothing_and_is_shown() {
    let name = "narrowed health";
    Mlflow::shared().register(name, &model("health"), 1);
    let narrow = "narrow health";
    Mlflow::shared().register(narrow, &model("other"), 1);
    Mlflow::shared().point(name, "champion", "1");
    Mlflow::shared().point(narrow, "champion", "1");
    let topics = Topics::new(TestBroker::shared(), 2, 2);
    // At a start it is refused.
    let refused = run(&mut scoring(&topics, narrow));
    refused.with_code(2);
    assert!(refused.err.contains("takes other features"), "{}", refused.err);
    // While the job runs, the alias comes to name one that is none for the graph.
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| send_until(&topics, &end));
        let run = Start::of(|| scoring(&topics, name), (1, 1), None, &[]);
        run.must_publish();
        let page = || run.processes()[0].metrics();
        assert_eq!(page().sum("tideflow_model_version", &[("version", "1")]), 1.0);
        Mlflow::shared().point(name, "champion", &spoil(name));
        run.wait_until("a failure", || page().sum("tideflow_model_failures_total", &[]) > 0.0);
        let before = page().sum("tideflow_inference_rows_total", &[]);
        run.wait_until("scores", || page().sum("tideflow_inference_rows_total", &[]) > before);
        assert!(run.said("the version that scores goes on"), "{}", run.processes()[0].said());
        assert_eq!(page().sum("tideflow_model_version", &[("version", "1")]), 1.0);
        // A start after a kill goes on with the version that has scored, whatever the alias names.
        run.signal("KILL");
        run.end_however();
        let run = Start::of(|| scoring(&topics, name), (1, 1), None, &[]);
        run.must_publish();
        assert!(run.said("the current version cannot be had"), "{}", run.processes()[0].said());
        let page = || run.processes()[0].metrics();
        run.wait_until("scores", || page().sum("tideflow_inference_rows_total", &[]) > 0.0);
        end.store(true, Ordering::SeqCst);
        run.signal("TERM");
        run.end_well();
    });
    let versions: BTreeSet<_> =
        topics.read(&topics.scores).iter().map(of_score).map(|s| s.2).collect();
    assert_eq!(versions, BTreeSet::from(["1".to_string()]));
}

/// Registers the second version of a model, which takes other features: its number.
fn spoil(name: &str) -> String {
    let url = Mlflow::shared().url();
    let folder: PathBuf = model("other");
    let args = [Path::new(&url), Path::new(name), &folder, Path::new("1")];
    python("register.py", &args);
    "2".to_string()
}
