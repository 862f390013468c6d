//! Models from an MLflow registry: a stand-in that speaks its REST API, and everything that it can do wrong.

#[path = "shared/models.rs"]
mod models;
#[path = "shared/server.rs"]
mod server;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use models::{MODELS, python};
use serde_json::json;
use server::{Answer, Asked, Server};
use tideflow_core::Secret;
use tideflow_models::{ErrorKind, HttpAccess, Mlflow, ModelLoadError, Runtime, Versions, digest};

const TOKEN: &str = "let-me-in";

fn json(status: u16, value: &serde_json::Value) -> Answer {
    Answer::Whole(status, value.to_string().into_bytes())
}

/// A registry with two versions of `pump anomalies`, of which `champion` is the one given: the test models
/// `net` and `two`.
fn registry(champion: &'static str) -> impl Fn(&Asked) -> Answer + Send + Sync {
    registry_made(champion, 7, folder)
}

/// A registry whose model was made at some time, of the files in these folders.
fn registry_made(
    champion: &'static str,
    created: i64,
    folder: fn(&str) -> PathBuf,
) -> impl Fn(&Asked) -> Answer + Send + Sync {
    // Made before anybody waits for an answer.
    LazyLock::force(&MODELS);
    move |asked| {
        if asked.token.as_deref() != Some(TOKEN) {
            return json(401, &json!({"error_code": "UNAUTHENTICATED", "message": "who is it?"}));
        }
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let named = query.contains("name=pump+anomalies");
        let version = |number: &str| {
            let tags =
                json!([{"key": "tideflow.digest", "value": digest(&folder(number)).unwrap()}]);
            json(
                200,
                &json!({"model_version": {"version": number, "creation_timestamp": created, "tags": tags,
                "source": "models:/elsewhere"}}),
            )
        };
        match path.strip_prefix("/api/2.0/mlflow/") {
            Some("registered-models/alias") if !named => json(
                404,
                &json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"}),
            ),
            Some("registered-models/alias") if query.contains("alias=champion") => {
                version(champion)
            }
            Some("registered-models/alias") => json(
                400,
                &json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such alias"}),
            ),
            Some("model-versions/get") if query.ends_with("version=1") => version("1"),
            Some("model-versions/get") if query.ends_with("version=2") => version("2"),
            Some("model-versions/get-download-uri") => {
                let number = query.rsplit('=').next().unwrap();
                json(
                    200,
                    &json!({"artifact_uri": format!("mlflow-artifacts:/3/run {number}/artifacts/model")}),
                )
            }
            _ => files(path, query, folder),
        }
    }
}

/// Where the files of a version are here.
fn folder(version: &str) -> PathBuf {
    MODELS.join(if version == "1" { "net" } else { "two" })
}

/// Lists a folder of a version, or gives a file.
fn files(path: &str, query: &str, folder: fn(&str) -> PathBuf) -> Answer {
    let local = |remote: &str| {
        let (version, rest) = remote.strip_prefix("3/run ")?.split_once("/artifacts/model")?;
        Some(folder(version).join(rest.trim_start_matches('/')))
    };
    let plain = |text: &str| text.replace("%20", " ").replace('+', " ").replace("%2F", "/");
    let rest = path.strip_prefix("/api/2.0/mlflow-artifacts/artifacts").expect("a known path");
    if let Some(listed) = query.strip_prefix("path=") {
        let entries = fs::read_dir(local(&plain(listed)).expect("ours")).expect("a folder");
        let list = entries.map(|entry| {
            let entry = entry.unwrap();
            let is_dir = entry.file_type().unwrap().is_dir();
            json!({"path": entry.file_name().to_str().unwrap(), "is_dir": is_dir, "file_size": 1})
        });
        return json(200, &json!({"files": list.collect::<Vec<_>>()}));
    }
    let file = local(plain(rest).trim_start_matches('/')).expect("ours");
    fs::read(file).map_or(json(404, &json!({"message": "no such file"})), |f| Answer::Whole(200, f))
}

fn open(server: &Server, reference: &str, cache: &Path) -> Mlflow {
    open_at(&server.url, Path::new(""), reference, cache)
}

/// With the certificates in a file, where one is named, in place of those of the system.
fn open_at(url: &str, authorities: &Path, reference: &str, cache: &Path) -> Mlflow {
    let access = HttpAccess {
        url: url.to_string(),
        token: Secret::new(TOKEN),
        ca_file: authorities.into(),
        timeout_ms: 2_000,
    };
    Mlflow::new(&access, reference.parse().unwrap(), cache, Runtime::InProcess).unwrap()
}

fn refused<T>(result: Result<T, ModelLoadError>, kind: ErrorKind) -> String {
    let error = result.err().expect("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

const CHAMPION: &str = "models:/pump anomalies@champion";

#[test]
fn an_alias_leads_to_the_files_of_its_version_which_are_downloaded_once() {
    let (server, cache) = (Server::start(registry("1")), tempfile::tempdir().unwrap());
    let model = open(&server, CHAMPION, cache.path());
    let id = model.current().unwrap();
    assert_eq!((id.name.as_str(), id.version.as_str()), ("pump anomalies", "1"));
    assert_eq!((id.digest.as_str(), id.batch_rows), (digest(&folder("1")).unwrap().as_str(), 256));
    assert_eq!(model.open(&id).unwrap().signature().name, "net");
    let asked = server.asked().len();
    assert_eq!(model.current().unwrap(), id);
    model.open(&id).unwrap();
    assert_eq!(server.asked().len(), asked + 1, "the alias is asked for, and nothing else");

    server.answer(registry("2"));
    let second = model.current().unwrap();
    assert_eq!(second.version, "2");
    assert_eq!(model.open(&second).unwrap().signature().outputs, ["heat", "wear"]);
    assert_eq!(model.open(&id).unwrap().signature().name, "net", "what was there before still is");
    assert!(model.may_change());
    assert!(!open(&server, "models:/pump anomalies/1", cache.path()).may_change());
}

#[test]
fn a_version_is_what_its_number_says_whatever_the_alias_is() {
    let (server, cache) = (Server::start(registry("1")), tempfile::tempdir().unwrap());
    let model = open(&server, "models:/pump anomalies/2", cache.path());
    assert_eq!(model.current().unwrap().version, "2");
}

#[test]
fn fault_a_registry_that_is_away_is_not_missed_by_those_who_have_asked_before() {
    let (server, cache) = (Server::start(registry("2")), tempfile::tempdir().unwrap());
    let id = open(&server, CHAMPION, cache.path()).current().unwrap();
    for away in [|_: &Asked| json(503, &json!({})), |_: &Asked| Answer::Silence] {
        server.answer(away);
        // Another start of the program.
        let model = open(&server, CHAMPION, cache.path());
        refused(model.current(), ErrorKind::Unavailable);
        assert_eq!(model.remembered().as_ref(), Some(&id));
        model.open(&id).unwrap();
        let nowhere = tempfile::tempdir().unwrap();
        let stranger = open(&server, CHAMPION, nowhere.path());
        assert_eq!(stranger.remembered(), None);
        let told = refused(stranger.current(), ErrorKind::Unavailable);
        let asking =
            format!("asking for alias `champion` of model `pump anomalies` at {}: ", server.url);
        assert!(told.starts_with(&asking), "{told}");
    }
}

#[test]
fn fault_a_wrong_token_an_unknown_model_and_an_unknown_alias_say_so() {
    let (server, cache) = (Server::start(registry("1")), tempfile::tempdir().unwrap());
    let told = |reference: &str| {
        refused(open(&server, reference, cache.path()).current(), ErrorKind::Invalid)
    };
    assert!(told("models:/pumps@champion").ends_with(": 404 Not Found: no such model"));
    assert!(told("models:/pump anomalies@next").ends_with(": 400 Bad Request: no such alias"));
    let access = HttpAccess { url: server.url.clone(), timeout_ms: 2_000, ..HttpAccess::default() };
    let stranger =
        Mlflow::new(&access, CHAMPION.parse().unwrap(), cache.path(), Runtime::InProcess).unwrap();
    let told = refused(stranger.current(), ErrorKind::Invalid);
    assert!(told.ends_with(": 401 Unauthorized: who is it?"), "{told}");
}

#[test]
fn fault_an_address_that_is_none_is_refused_before_anything_is_asked() {
    let told = |url: &str, ca_file: &str| {
        let (url, ca_file) = (url.to_string(), ca_file.into());
        let access = HttpAccess { url, ca_file, ..HttpAccess::default() };
        refused(
            Mlflow::new(&access, CHAMPION.parse().unwrap(), Path::new("x"), Runtime::InProcess),
            ErrorKind::Invalid,
        )
    };
    assert!(told("mlflow:5000", "").contains("expected http or https, found `mlflow`"));
    assert!(told("", "").contains("expected an address such as http://host:5000"));
    assert!(told("https://mlflow", "/nowhere.pem").contains("reading `/nowhere.pem`"));
}

/// What comes of a registry that answers as it should but for some questions.
fn spoiled(spoil: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> (String, usize) {
    let whole = registry("1");
    let server = Server::start(move |asked| spoil(asked).unwrap_or_else(|| whole(asked)));
    let cache = tempfile::tempdir().unwrap();
    let model = open(&server, CHAMPION, cache.path());
    let error = model.current().expect_err("it cannot be had");
    let kept = fs::read_dir(cache.path()).map_or(0, Iterator::count);
    (format!("{:?}: {error}", error.kind()), kept)
}

#[test]
fn fault_files_that_are_cut_short_changed_or_elsewhere_are_not_kept() {
    let is_file = |asked: &Asked| asked.target.ends_with("saved_model.pb");
    let (told, kept) = spoiled(move |a| is_file(a).then(|| Answer::CutShort(vec![1; 100])));
    assert!(told.starts_with("Unavailable: downloading version `1` of model `pump"), "{told}");
    assert_eq!(kept, 0);

    let (told, kept) = spoiled(move |a| is_file(a).then(|| Answer::Whole(200, vec![1; 100])));
    assert!(told.starts_with("Invalid: expected a model with the digest `"), "{told}");
    assert_eq!(kept, 0);

    let is_address = |asked: &Asked| asked.target.contains("get-download-uri");
    let elsewhere = json!({"artifact_uri": "s3://bucket/model"});
    let (told, kept) = spoiled(move |a| is_address(a).then(|| json(200, &elsewhere)));
    assert!(
        told.contains("its files are at `s3://bucket/model`, expected them at the registry"),
        "{told}"
    );
    assert_eq!(kept, 0);
}

#[test]
fn fault_a_model_that_is_too_large_or_takes_too_long_is_not_kept() {
    let (server, cache) = (Server::start(registry("1")), tempfile::tempdir().unwrap());
    let told = |bytes, time, kind| {
        let model = open(&server, CHAMPION, cache.path()).limits(bytes, time);
        let told = refused(model.current(), kind);
        assert!(
            told.starts_with("downloading version `1` of model `pump anomalies` at "),
            "{told}"
        );
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
        told
    };
    let hour = Duration::from_secs(3_600);
    let large = told(1_000, hour, ErrorKind::Invalid);
    assert!(large.ends_with(": expected at most 1000 bytes, found more"), "{large}");
    let slow = told(1 << 30, Duration::ZERO, ErrorKind::Unavailable);
    assert!(slow.contains(": only ") && slow.ends_with(" bytes within 0 s"), "{slow}");
    open(&server, CHAMPION, cache.path()).limits(1 << 30, hour).current().unwrap();
}

/// What speaks TLS before a server that does not: killed when dropped.
struct Tls(Child, String);

impl Tls {
    fn before(server: &Server) -> Tls {
        let port = server.url.rsplit(':').next().expect("it has one");
        let mut tls = python("tls.py").arg(port).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut own = String::new();
        BufReader::new(tls.stdout.take().expect("piped")).read_line(&mut own).unwrap();
        Tls(tls, format!("https://127.0.0.1:{}", own.trim()))
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it was running");
    }
}

#[test]
fn a_registry_behind_tls_serves_who_trusts_its_certificate() {
    let (server, cache) = (Server::start(registry("1")), tempfile::tempdir().unwrap());
    let tls = Tls::before(&server);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/127.0.0.1.pem");
    let model = open_at(&tls.1, &own, CHAMPION, cache.path());
    let id = model.current().unwrap();
    model.open(&id).unwrap();
    assert_eq!(id.version, "1");
}

#[test]
fn fault_a_certificate_that_nobody_trusts_is_for_a_person_to_mend() {
    let (server, cache) = (Server::start(registry("1")), tempfile::tempdir().unwrap());
    let tls = Tls::before(&server);
    let model = open_at(&tls.1, Path::new(""), CHAMPION, cache.path());
    let told = refused(model.current(), ErrorKind::Invalid);
    assert!(told.contains("invalid peer certificate: "), "{told}");
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn fault_a_listing_that_leads_out_of_its_folder_is_refused() {
    for path in ["../outside", "/outside", "a/b", "..", ""] {
        let listing = json!({"files": [{"path": path, "is_dir": false}]});
        let is_listing = |asked: &Asked| asked.target.contains("artifacts?path=");
        let (told, kept) = spoiled(move |a| is_listing(a).then(|| json(200, &listing)));
        assert!(told.starts_with("Invalid: downloading model `pump anomalies`"), "{path}: {told}");
        assert_eq!(kept, 0);
    }
    let endless = json!({"files": [{"path": "more", "is_dir": true}]});
    let is_listing = |asked: &Asked| asked.target.contains("artifacts?path=");
    let (told, _) = spoiled(move |a| is_listing(a).then(|| json(200, &endless)));
    assert!(told.contains("more/more/more"), "{told}");
}

#[test]
fn fault_an_answer_that_is_no_json_is_named() {
    let (told, _) = spoiled(|_| Some(Answer::Whole(200, b"<html>".to_vec())));
    assert!(told.contains("its answer is not what was asked: expected value at line 1"), "{told}");
}

#[test]
fn fault_a_copy_that_was_damaged_is_found_and_downloaded_anew() {
    let (server, cache) = (Server::start(registry("1")), tempfile::tempdir().unwrap());
    let model = open(&server, CHAMPION, cache.path());
    let id = model.current().unwrap();
    let copy = cache.path().join(&id.digest);
    for file in ["saved_model.pb", "fingerprint.pb"] {
        fs::write(copy.join(file), "cut short").unwrap();
        model.open(&id).unwrap();
    }
    assert_eq!(digest(&copy).unwrap(), id.digest);
}

#[test]
fn a_model_that_was_deleted_and_made_anew_is_told_apart_though_its_versions_have_the_same_numbers()
{
    let (server, cache) = (Server::start(registry("1")), tempfile::tempdir().unwrap());
    let first = open(&server, CHAMPION, cache.path()).current().unwrap();
    server.answer(registry_made("1", 8, |_| folder("2")));
    let anew = open(&server, CHAMPION, cache.path()).current().unwrap();
    assert_eq!((anew.version.as_str(), &anew.digest), ("1", &digest(&folder("2")).unwrap()));
    assert_ne!(anew.digest, first.digest);
}
