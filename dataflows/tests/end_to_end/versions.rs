//! A model from a real MLflow registry, whose alias moves while it scores and the job is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tideflow::core::kafka::testing::TestBroker;

use crate::crash::start::{Layout, Start};
use crate::fleet::Numbers;
use crate::program::{device_health, run};
use crate::python::{model, python};
use crate::topics::{Input, Sent, Topics, read};

/// A real MLflow server, which ends with the tests.
pub struct Mlflow {
    address: String,
}

impl Mlflow {
    pub fn shared() -> &'static Mlflow {
        static SHARED: LazyLock<Mlflow> = LazyLock::new(Mlflow::start);
        &SHARED
    }

    fn start() -> Mlflow {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("scripts/mlflow.sh");
        let folder = tempfile::tempdir().expect("a folder").keep();
        let own = std::process::id().to_string();
        let run = Command::new(script)
            .args(["start", "--while", &own, "--remove", "--dir"])
            .arg(folder.join("mlflow"))
            .output()
            .expect("the script is in the checkout");
        let (out, err) =
            (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        let address = out.trim().strip_prefix("MLFLOW_TRACKING_URI=http://");
        let address = address.unwrap_or_else(|| panic!("no MLflow server: {out}{err}"));
        Mlflow { address: address.to_string() }
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
    let mut command = device_health("run", topics, Path::new(&format!("models:/{name}@champion")));
    command.args([
        format!("--model.registry_url={}", Mlflow::shared().url()),
        "--model.poll_ms=100".to_string(),
        "--window.length_ms=500".to_string(),
        "--readings.out_of_orderness_ms=100".to_string(),
        // The log of bindings is read below: nothing of it may go.
        "--job.snapshot_every=1000000".to_string(),
        "--job.shards=2".to_string(),
        "--epochs.interval_ms=10".to_string(),
    ]);
    command
}

#[expect(
    clippy::disallowed_methods,
    reason = "readings of now: which window each is in does not matter"
)]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_millis() as i64
}

const DEVICES: i64 = 40;

/// Sends a reading of every device ten times a second, until it is told to end; then one that closes every
/// window.
fn send_until(topics: &Topics, end: &AtomicBool) {
    let reading = |device: i64, ts: i64| {
        let id = format!("d{device:03}");
        let value = json!({"device": id, "ts": ts, "temperature": 20.0 + device as f64 / 10.0,
            "vibration": 0.8, "current": 4.0});
        Input {
            partition: (device % 2) as i32,
            key: Some(id.into_bytes()),
            value: Some(value.to_string().into_bytes()),
            timestamp: ts,
            ..Input::default()
        }
    };
    while !end.load(Ordering::SeqCst) {
        let ts = now_ms();
        topics.send((0..DEVICES).map(|device| reading(device, ts)));
        thread::park_timeout(Duration::from_millis(100));
    }
    let ts = now_ms() + 5_000;
    topics.send((0..DEVICES).map(|device| reading(device, ts)));
}

/// Moves the alias every second.
fn move_until(name: &str, versions: usize, end: &AtomicBool) {
    let mut at = 0;
    while !end.load(Ordering::SeqCst) {
        at += 1;
        Mlflow::shared().point(name, "champion", &(1 + at % versions).to_string());
        let next = Instant::now() + Duration::from_secs(1);
        while Instant::now() < next && !end.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// What a killed job's log of bindings says: of each epoch that counts its watermark and its version.
fn bound(topics: &Topics) -> BTreeMap<u64, (i64, String)> {
    let mut bound = BTreeMap::new();
    let mut newest = 0;
    for Sent { value, .. } in read(&topics.kafka, &format!("{}.bindings", topics.windows)) {
        let entry: Value = serde_json::from_slice(&value.expect("an entry")).expect("JSON");
        let generation = entry["generation"].as_u64().expect("a number");
        let Some(binding) = entry.get("binding") else {
            newest = newest.max(generation);
            continue;
        };
        if generation >= newest {
            let epoch = binding["epoch"].as_u64().expect("a number");
            let watermark = binding["watermark"].as_i64().expect("a number");
            let chosen = binding["chosen"]["health"].as_str().expect("a version").to_string();
            bound.insert(epoch, (watermark, chosen));
        }
    }
    bound
}

/// Runs the job for a while, is killed in some way, and starts again with other workers.
fn kill_again_and_again(start: impl Fn(Layout) -> Start, kills: usize) -> Start {
    let mut numbers = Numbers(7);
    for kill in 0..kills {
        let layout = (1 + (kill + 1) % 2, 1 + numbers.below(2) as usize);
        let run = start(layout);
        run.publishes();
        let life = run.age() + Duration::from_millis(500 + numbers.below(2_500));
        run.lives_for(life, |_| ());
        let one = numbers.below(run.processes().len() as u64) as usize;
        run.processes()[one].signal("KILL");
        if numbers.below(2) == 0 {
            run.signal("KILL");
        }
        run.end_however();
    }
    start((2, 1))
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

#[test]
fn crash_while_an_alias_moves_every_score_is_of_the_version_that_its_epoch_is_bound_to() {
    let name = "moving health";
    let digests = Mlflow::shared().register(name, &model("health"), 3);
    Mlflow::shared().point(name, "champion", "1");
    let topics = Topics::new(TestBroker::shared(), 2, 2);
    let start = |layout| Start::of(|| scoring(&topics, name), layout, None, &[]);
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| send_until(&topics, &end));
        scope.spawn(|| move_until(name, 3, &end));
        let last = kill_again_and_again(start, 6);
        last.must_publish();
        last.lives_for(last.age() + Duration::from_secs(4), |_| ());
        end.store(true, Ordering::SeqCst);
        // The last readings close every window but their own; draining closes that.
        last.lives_for(last.age() + Duration::from_secs(2), |_| ());
        last.signal("TERM");
        last.end_well();
    });

    let bound = bound(&topics);
    let by_watermark: BTreeMap<i64, (u64, &str)> = bound
        .iter()
        .rev()
        .map(|(epoch, (watermark, chosen))| (*watermark, (*epoch, chosen.as_str())))
        .collect();
    let mut versions = BTreeSet::new();
    let mut scored = BTreeSet::new();
    for sent in topics.read(&topics.scores) {
        let (device, window_end, version, digest) = of_score(&sent);
        assert_eq!(digest, digests[version.parse::<usize>().expect("a number") - 1]);
        // The first epoch whose watermark reaches the window's end is the one that closes it.
        let (_, (epoch, chosen)) =
            by_watermark.range(window_end..).next().expect("an epoch has closed it");
        assert_eq!(*chosen, format!("{digest}:256:{name}/{version}"), "epoch {epoch}");
        assert!(scored.insert((device.clone(), window_end)), "{device} twice in {window_end}");
        versions.insert(version);
    }
    assert_eq!(versions.len(), 3, "each of them has scored");
    let windows = topics.read(&topics.windows);
    let of_window = |sent: &Sent| {
        let window = sent.json();
        (window["device"].as_str().unwrap().to_string(), window["window_end"].as_i64().unwrap())
    };
    assert_eq!(windows.iter().map(of_window).collect::<BTreeSet<_>>(), scored);
    assert!(scored.len() > 500, "only {} scores", scored.len());
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
    // While the job runs, the registry loses what it has of the version.
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

/// Registers a version of the model that takes other features: its number.
fn spoil(name: &str) -> String {
    let url = Mlflow::shared().url();
    let folder: PathBuf = model("other");
    let args = [Path::new(&url), Path::new(name), &folder, Path::new("1")];
    python("register.py", &args);
    "2".to_string()
}
