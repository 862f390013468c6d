//! Models on a TensorFlow Serving server: a stand-in that speaks its documented REST API, and what it can do wrong.

#[path = "shared/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::{Answer, Asked, Server};
use tideflow_models::{
    ErrorKind, HttpAccess, Manifest, Model, ScoreError, ServingAccess, ServingModel, VersionId,
};

/// A window of two rows of two features and the number of a site; gives the sum of the window, and the site.
fn manifest() -> Manifest {
    let features = ["a[0]", "b[0]", "a[1]", "b[1]"];
    let all = features.iter().chain(&["site"]).map(|f| json!({"name": f, "unit": "1"}));
    let manifest = json!({
        "format_version": 2, "name": "sum", "version": "3", "scaling": "", "metrics": {},
        "features": all.collect::<Vec<_>>(), "data_digest": "", "signature": "serving_default",
        "inputs": [
            {"tensor": "window", "dtype": "float32", "shape": [2, 2], "features": features},
            {"tensor": "site", "dtype": "int64", "shape": [], "features": ["site"]},
        ],
        "outputs": [
            {"tensor": "sum", "dtype": "float32", "shape": [1], "names": ["sum"]},
            {"tensor": "site_out", "dtype": "int64", "shape": [], "names": ["site"]},
        ],
        "batch_rows": 2, "libraries": {}, "created": ""
    });
    serde_json::from_value(manifest).expect("it is one")
}

fn json(status: u16, value: &Value) -> Answer {
    Answer::Whole(status, value.to_string().into_bytes())
}

fn tensor(dtype: &str, sizes: &[i64]) -> Value {
    let dim: Vec<_> = sizes.iter().map(|n| json!({"size": n.to_string(), "name": ""})).collect();
    json!({"dtype": dtype, "tensor_shape": {"dim": dim, "unknown_rank": false}, "name": "x:0"})
}

fn metadata() -> Value {
    let signature = json!({
        "inputs": {"window": tensor("DT_FLOAT", &[-1, 2, 2]), "site": tensor("DT_INT64", &[-1])},
        "outputs": {"sum": tensor("DT_FLOAT", &[-1, 1]), "site_out": tensor("DT_INT64", &[-1])},
        "method_name": "tensorflow/serving/predict"
    });
    json!({
        "model_spec": {"name": "sum", "signature_name": "", "version": "3"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}
    })
}

/// What the server says to a question: as documented, in columns.
fn serve(asked: &Asked) -> Answer {
    if asked.token.as_deref() != Some("let-me-in") {
        return json(401, &json!({"error": "who is it?"}));
    }
    match asked.target.as_str() {
        "/v1/models/sum/versions/3/metadata" => json(200, &metadata()),
        "/v1/models/sum/versions/3:predict" => {
            let question: Value = serde_json::from_slice(&asked.body).expect("JSON");
            assert_eq!(question["signature_name"], "serving_default");
            let numbers = |row: &Value| -> f64 {
                let rows = row.as_array().unwrap().iter();
                rows.flat_map(|r| r.as_array().unwrap()).map(|x| x.as_f64().unwrap()).sum()
            };
            let window = question["inputs"]["window"].as_array().expect("a column");
            let sums: Vec<_> = window.iter().map(|row| [numbers(row)]).collect();
            let sites = &question["inputs"]["site"];
            assert!(sites.as_array().unwrap().iter().all(Value::is_i64), "{sites}");
            json(200, &json!({"outputs": {"sum": sums, "site_out": sites}}))
        }
        _ => json(404, &json!({"error": "Servable not found for request: Specific(sum, 4)"})),
    }
}

fn access(server: &Server) -> ServingAccess {
    let http = HttpAccess {
        url: server.url.clone(),
        token: tideflow_core::Secret::new("let-me-in"),
        ca_file: "".into(),
        timeout_ms: 500,
    };
    ServingAccess { http, tries: 3, failures_max: 2, rest_ms: 300 }
}

fn id(version: &str) -> VersionId {
    let (name, version, digest) = ("sum".to_string(), version.to_string(), "4f2a".to_string());
    VersionId { name, version, digest, batch_rows: 2 }
}

fn open(server: &Server) -> ServingModel {
    ServingModel::open(&id("3"), manifest(), &access(server)).expect("it is served")
}

fn score(model: &ServingModel) -> Result<Vec<f64>, ScoreError> {
    let mut out = vec![9.0];
    let rows = [1.0, 2.0, 3.0, 4.5, 7.0, 0.0, 0.0, 0.0, -1.0, 8.0];
    let scored = model.score(&rows, 2, &mut out);
    assert!(scored.is_ok() || out.is_empty());
    scored.map(|()| out)
}

const SCORES: [f64; 4] = [10.5, 7.0, -1.0, 8.0];

#[test]
fn rows_go_out_in_columns_and_scores_come_back_row_by_row() {
    let server = Server::start(serve);
    let model = open(&server);
    assert_eq!(score(&model).unwrap(), SCORES);
    assert_eq!(
        (model.signature().version.as_str(), model.signature().digest.as_str()),
        ("3", "4f2a")
    );
    assert_eq!(model.signature().outputs, ["sum", "site"]);
    model.warm(2).unwrap();
    let sent: Value = serde_json::from_slice(&server.asked()[1].body).unwrap();
    let window = json!([[[1.0, 2.0], [3.0, 4.5]], [[0.0, 0.0], [0.0, -1.0]]]);
    assert_eq!(sent["inputs"], json!({"window": window, "site": [7, 8]}));
}

#[test]
fn fault_what_is_not_served_or_served_otherwise_is_refused_when_it_is_opened() {
    let server = Server::start(serve);
    let refused = |id: &VersionId, access: &ServingAccess| {
        let error = ServingModel::open(id, manifest(), access).err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    let told = refused(&id("4"), &access(&server));
    assert!(told.contains("asking for version `4` of model `sum`"), "{told}");
    assert!(
        told.ends_with("404 Not Found: Servable not found for request: Specific(sum, 4)"),
        "{told}"
    );
    let mut stranger = access(&server);
    stranger.http.token = tideflow_core::Secret::default();
    assert!(refused(&id("3"), &stranger).ends_with("401 Unauthorized: who is it?"));
    for (path, value, expected) in [
        (
            "/inputs/site/dtype",
            json!("DT_INT32"),
            "tensor `site`: expected (\"DT_INT64\", [-1]), found",
        ),
        (
            "/inputs/window/tensor_shape/dim/2/size",
            json!("3"),
            "found Some((\"DT_FLOAT\", [-1, 2, 3]))",
        ),
        ("/outputs/sum", json!({"dtype": "DT_FLOAT"}), "tensor `sum`: expected"),
        ("/inputs", json!({}), "expected the inputs [\"site\", \"window\"], found []"),
    ] {
        let mut other = metadata();
        let place = format!("/metadata/signature_def/signature_def/serving_default{path}");
        *other.pointer_mut(&place).expect("it is there") = value;
        server.answer(move |_| json(200, &other));
        let told = refused(&id("3"), &access(&server));
        assert!(told.contains("it serves another model: ") && told.contains(expected), "{told}");
    }
}

#[test]
fn fault_a_server_that_stumbles_is_asked_again() {
    let server = Server::start(serve);
    let model = open(&server);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    server.answer(move |question| match count.fetch_add(1, Ordering::SeqCst) {
        0 => json(503, &json!({"error": "overloaded"})),
        1 => Answer::CutShort(b"{".to_vec()),
        _ => serve(question),
    });
    assert_eq!(score(&model).unwrap(), SCORES);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn fault_a_server_that_does_not_answer_is_left_alone_for_a_while() {
    let server = Server::start(serve);
    let model = open(&server);
    server.answer(|_| json(503, &json!({"error": "overloaded"})));
    let failed = |expected: &str| {
        let told = score(&model).expect_err("it does not answer").to_string();
        assert!(told.contains(expected), "{told}");
    };
    failed("503 Service Unavailable: overloaded");
    failed("503 Service Unavailable: overloaded");
    let asked = server.asked().len();
    failed("left alone after 2 batches without an answer");
    assert_eq!(server.asked().len(), asked, "nobody has asked it");
    server.answer(serve);
    let since = Instant::now();
    let scores = loop {
        match score(&model) {
            Ok(scores) => break scores,
            Err(_) if since.elapsed() < Duration::from_secs(10) => {
                thread::park_timeout(Duration::from_millis(20))
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(scores, SCORES);
    assert_eq!(score(&model).unwrap(), SCORES, "it is asked as before");
}

#[test]
fn fault_a_server_that_is_silent_is_given_up_in_time() {
    let server = Server::start(serve);
    let model = open(&server);
    server.answer(|_| Answer::Silence);
    let since = Instant::now();
    let told = score(&model).expect_err("it is silent").to_string();
    assert!(told.contains("no answer within 500 ms"), "{told}");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

#[test]
fn fault_an_answer_of_another_shape_or_kind_is_an_error_and_no_score() {
    let server = Server::start(serve);
    let model = open(&server);
    for other in [
        json!({}),
        json!({"outputs": {"sum": [[1.0], [2.0]]}}),
        json!({"outputs": {"sum": [[1.0]], "site_out": [1, 2]}}),
        json!({"outputs": {"sum": [["1.0"], [2.0]], "site_out": [1, 2]}}),
        json!({"outputs": [[1.0], [2.0]]}),
    ] {
        let text = other.to_string();
        server.answer(move |_| json(200, &other));
        let told = score(&model).expect_err("no scores").to_string();
        assert!(told.contains("expected 4 scores back"), "{text}: {told}");
    }
    server.answer(|_| Answer::Whole(200, b"<html>".to_vec()));
    let told = score(&model).expect_err("no JSON").to_string();
    assert!(told.contains("its answer is no JSON"), "{told}");
    // Whoever answers is not left alone, whatever it says.
    server.answer(serve);
    assert_eq!(score(&model).unwrap(), SCORES);
}

#[test]
fn what_is_no_number_in_json_is_none_here() {
    let server = Server::start(serve);
    let model = open(&server);
    server.answer(|_| {
        let text = r#"{"outputs": {"sum": [[NaN], [-Infinity]], "site_out": [1, 2]}}"#;
        Answer::Whole(200, text.as_bytes().to_vec())
    });
    let scores = score(&model).unwrap();
    assert!(scores[0].is_nan() && scores[2].is_nan(), "{scores:?}");
    assert_eq!([scores[1], scores[3]], [1.0, 2.0]);
}
