//! A model on a server that fails now and then, while the job is killed: what becomes of an epoch is decided once.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tideflow::core::kafka::testing::TestBroker;
use tideflow::models::{Model, load};

use super::start::Start;
use crate::live::{Bound, LIVE, kill_again_and_again, send_until};
use crate::program::device_health;
use crate::python::model;
use crate::server::{Answer, Asked, Server};
use crate::topics::{Sent, Topics};

const WIDTH: usize = 12;

/// A TensorFlow Serving server for one model, of which some calls in a row fail, again and again.
struct Serving {
    model: Arc<dyn Model>,
    calls: AtomicUsize,
    /// It answers everything.
    well: AtomicBool,
}

impl Serving {
    fn answer(&self, asked: &Asked) -> Answer {
        let json = |status, value: &Value| Answer::Whole(status, value.to_string().into_bytes());
        if asked.target.ends_with("/metadata") {
            return json(200, &metadata());
        }
        let question: Value = serde_json::from_slice(&asked.body).expect("JSON");
        let rows = question["inputs"]["features"].as_array().expect("a column");
        let row = |row: &Value| -> Vec<f64> {
            row.as_array().expect("a row").iter().map(|x| x.as_f64().expect("a number")).collect()
        };
        let rows: Vec<Vec<f64>> = rows.iter().map(row).collect();
        // A start tries it with rows of its own making.
        let is_try = rows.iter().all(|row| *row == rows[0]);
        let call = self.calls.fetch_add(usize::from(!is_try), Ordering::SeqCst);
        if !is_try && !self.well.load(Ordering::SeqCst) && call % 5 < 2 {
            return json(503, &json!({"error": "too busy"}));
        }
        let mut scores = Vec::new();
        self.model.score(&rows.concat(), rows.len(), &mut scores).expect("it is a model");
        let scores: Vec<[f64; 1]> = scores.into_iter().map(|score| [score]).collect();
        json(200, &json!({"outputs": scores}))
    }
}

fn metadata() -> Value {
    let tensor = |sizes: [i64; 2]| {
        let dim = sizes.map(|n| json!({"size": n.to_string(), "name": ""}));
        let shape = json!({"dim": dim, "unknown_rank": false});
        json!({"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "x:0"})
    };
    let signature = json!({
        "inputs": {"features": tensor([-1, WIDTH as i64])},
        "outputs": {"score": tensor([-1, 1])},
        "method_name": "tensorflow/serving/predict"
    });
    json!({
        "model_spec": {"name": "health", "signature_name": "", "version": "3"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}
    })
}

/// `device_health` with windows of half a second, scored by the server.
fn scoring(topics: &Topics, server: &Server, policy: &str) -> Command {
    let mut command = device_health("run", topics, &model("health"));
    command.args([
        format!("--model.serving_url={}", server.url),
        format!("--model.on_failure={policy}"),
        "--model.fallback_score=0.25".to_string(),
        // A batch is given up after two calls, and the server is asked again at once.
        "--model.serving_tries=1".to_string(),
        "--model.serving_failures_max=1000000".to_string(),
    ]);
    command.args(LIVE);
    command
}

/// Device and end of the window of a record.
fn of_window(sent: &Sent) -> (String, i64) {
    let record = sent.json();
    let device = record["device"].as_str().expect("a text").to_string();
    (device, record["window_end"].as_i64().expect("a number"))
}

/// Has the job scored by a server that fails, killed while it does: its topics, and its log.
fn killed_while_the_server_fails(policy: &str) -> (Topics, Bound) {
    let path = model("health");
    let serving = Arc::new(Serving {
        model: load(&path).expect("it is a model"),
        calls: AtomicUsize::new(0),
        well: AtomicBool::new(false),
    });
    let answers = serving.clone();
    let server = Server::start(move |asked| answers.answer(asked));
    let topics = Topics::new(TestBroker::shared(), 2, 2);
    let start = |layout| Start::of(|| scoring(&topics, &server, policy), layout, None, &[]);
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| send_until(&topics, &end));
        // It kills itself where it rules.
        for point in ["ruling appended:1", "ruling acknowledged:1", "ruling acknowledged:3"] {
            let run =
                Start::of(|| scoring(&topics, &server, policy), (1, 1), Some((0, point)), &[]);
            run.wait_until(point, || run.has_ended());
            assert_eq!(run.end()[0].code, -9, "`{point}`");
        }
        // What was published with scores is only given again by a server that works.
        let last = kill_again_and_again(
            |layout| {
                serving.well.store(true, Ordering::SeqCst);
                let run = start(layout);
                run.publishes();
                serving.well.store(false, Ordering::SeqCst);
                run
            },
            6,
        );
        last.must_publish();
        last.lives_for(last.age() + Duration::from_secs(3), |_| ());
        end.store(true, Ordering::SeqCst);
        last.lives_for(last.age() + Duration::from_secs(2), |_| ());
        last.signal("TERM");
        last.end_well();
    });
    let bound = Bound::read(&topics);
    (topics, bound)
}

#[test]
fn crash_where_a_failing_model_gives_fallback_scores_an_epoch_has_them_for_all_or_for_none() {
    let (topics, bound) = killed_while_the_server_fails("score");
    let (mut scored, mut fallbacks) = (BTreeSet::new(), 0);
    for sent in topics.read(&topics.scores) {
        let (window, score) = (of_window(&sent), sent.json());
        let (value, fallback) =
            (score["score"].as_f64().expect("a number"), score["fallback"] == json!(true));
        let epoch = bound.closed(window.1);
        let ruled = bound.ruled.get(&epoch);
        assert_eq!(fallback, ruled.is_some(), "epoch {epoch}: {score}");
        assert_eq!(fallback, value == 0.25, "epoch {epoch}: {score}");
        if let Some(ruled) = ruled {
            assert_eq!(ruled["scores"], json!([0.25]));
            assert!(ruled["why"].as_str().expect("a text").contains("too busy"), "{ruled}");
        }
        fallbacks += usize::from(fallback);
        assert!(scored.insert(window.clone()), "{window:?} twice");
    }
    let windows: BTreeSet<_> = topics.read(&topics.windows).iter().map(of_window).collect();
    assert_eq!(windows, scored);
    assert!(fallbacks > 100 && fallbacks < scored.len(), "{fallbacks} of {}", scored.len());
}

#[test]
fn crash_where_a_failing_model_gives_dead_letters_an_epoch_has_them_for_all_or_for_none() {
    let (topics, bound) = killed_while_the_server_fails("reject");
    let scored: Vec<_> = topics.read(&topics.scores).iter().map(of_window).collect();
    for (device, end) in &scored {
        let epoch = bound.closed(*end);
        assert!(!bound.ruled.contains_key(&epoch), "{device}, {end} in epoch {epoch}");
    }
    let letters: Vec<_> = topics.read(&topics.rejects);
    for sent in &letters {
        assert_eq!(sent.header("error"), "not_scored");
        let window = sent.json();
        let epoch = bound.closed(window["end"].as_i64().expect("a number"));
        assert!(bound.ruled.contains_key(&epoch), "{window} in epoch {epoch}");
    }
    let windows: BTreeSet<_> = topics.read(&topics.windows).iter().map(of_window).collect();
    assert_eq!(scored.len() + letters.len(), windows.len());
    assert!(!letters.is_empty() && !scored.is_empty());
}
