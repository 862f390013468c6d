//! SavedModels that TensorFlow itself made, loaded and scored here.

#[path = "shared/models.rs"]
mod models;

use std::fs;
use std::path::Path;
use std::process::Command;

use models::MODELS;
use serde_json::{Value, json};
use tideflow_models::{ErrorKind, Model, ModelLoadError, Rows, TensorFlowModel, digest, load};

const WIDTH: usize = 12;

fn open(name: &str) -> TensorFlowModel {
    TensorFlowModel::load(MODELS.join(name)).unwrap()
}

fn refused(folder: &Path) -> String {
    let error = TensorFlowModel::load(folder).err().expect("the model is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.to_string()
}

/// A copy of a model with its manifest changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&MODELS.join(name), copy.path());
    let path = copy.path().join("manifest.json");
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Rows and the scores that Keras gave them, each flat.
fn from_keras(name: &str) -> (Vec<f64>, Vec<f64>) {
    let text = fs::read(MODELS.join(format!("{name}.json"))).unwrap();
    let json: Value = serde_json::from_slice(&text).unwrap();
    let flat = |field: &str| -> Vec<f64> {
        let rows: Vec<Vec<f64>> = serde_json::from_value(json[field].clone()).unwrap();
        rows.concat()
    };
    (flat("rows"), flat("scores"))
}

fn score(model: &dyn Model, rows: &[f64]) -> Vec<f64> {
    let mut scores = Vec::new();
    model.score(rows, rows.len() / model.signature().width(), &mut scores).unwrap();
    scores
}

fn bits(scores: &[f64]) -> Vec<u64> {
    scores.iter().map(|score| score.to_bits()).collect()
}

#[test]
fn oracle_scores_equal_those_of_keras() {
    for name in ["net", "two", "wide", "members"] {
        let (rows, expected) = from_keras(name);
        let found = score(&open(name), &rows);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-6, "{name}: expected {expected}, found {found}");
        }
    }
}

#[test]
fn rows_in_memory_that_is_used_again_are_scored_as_in_fresh_memory() {
    let model = open("mixed");
    let width = model.signature().width();
    let (mut memory, mut found) = (model.rows(4), Vec::new());
    for missing in 0..4 {
        let number = |n: usize| (n % 7 + missing) as f64;
        let rows: Vec<f64> = (0..(4 - missing) * width).map(number).collect();
        let mut writer = memory.writer();
        rows.chunks(width).enumerate().for_each(|(place, row)| assert!(writer.set(place, row)));
        writer.clear_from(4 - missing);
        model.score_rows(&memory, &mut found).unwrap();
        let padded = [rows, vec![0.0; missing * width]].concat();
        assert_eq!(bits(&found), bits(&score(&model, &padded)), "{missing}");
    }
    let mut plain = Rows::plain(model.signature(), 4);
    plain.writer().clear_from(0);
    let mut of_plain = Vec::new();
    model.score_rows(&plain, &mut of_plain).unwrap();
    assert_eq!(bits(&of_plain), bits(&score(&model, &vec![0.0; 4 * width])));
    // A value of each of its tensors.
    for (column, bad) in [(0, 1e39), (0, f64::NAN), (1, 1e39), (width - 1, f64::INFINITY)] {
        let mut row = vec![1.0; width];
        row[column] = bad;
        assert_eq!(memory.writer().set(3, &row), model.signature().misfit(&row).is_none(), "{bad}");
    }
    // That of another model is no memory for it.
    assert!(open("net").score_rows(&memory, &mut found).is_err() && found.is_empty());
}

#[test]
fn the_signature_is_the_manifests_and_the_digest_the_folders() {
    let model = open("two");
    let signature = model.signature();
    assert_eq!((signature.name.as_str(), signature.version.as_str()), ("two", "7"));
    assert_eq!(signature.outputs, ["heat", "wear"]);
    assert_eq!(signature.width(), WIDTH);
    assert_eq!(signature.digest, digest(&MODELS.join("two")).unwrap());
    assert_eq!(model.manifest().alarm.unwrap().raise_above, 0.9);
}

#[test]
fn a_folder_is_loaded_by_its_path_and_made_ready() {
    let model = load(MODELS.join("net").to_str().unwrap()).unwrap();
    for count in [32, 256] {
        model.warm(count).unwrap();
    }
    let mut scores = vec![1.0];
    model.score(&[], 0, &mut scores).unwrap();
    assert!(scores.is_empty());
}

#[test]
fn golden_rows_are_scored_when_a_model_is_loaded_and_another_score_is_refused() {
    let (rows, scores) = from_keras("net");
    let golden = |change: f64| {
        let rows: Vec<_> = rows.chunks(WIDTH).collect();
        let mut scores: Vec<_> = scores.iter().map(|score| [*score]).collect();
        scores[270][0] += change;
        json!({"rows": 300, "inputs": {"keras_tensor": rows}, "outputs": {"output_0": scores}})
    };
    let load_with = |golden: &Value| {
        let copy = changed("net", |manifest| {
            // As this model's names come from Keras.
            let name = manifest["inputs"][0]["tensor"].as_str().unwrap().to_string();
            assert!(golden["inputs"].get(&name).is_some() || golden["rows"] == 1, "{name}");
        });
        fs::write(copy.path().join("golden.json"), golden.to_string()).unwrap();
        load(copy.path()).map(drop).map_err(|error| error.to_string())
    };
    load_with(&golden(0.0)).unwrap();
    load_with(&golden(1e-6)).unwrap();
    let told = load_with(&golden(0.001)).unwrap_err();
    assert!(told.contains("row 270 of `golden.json`: expected `score` to be "), "{told}");
    let told = load_with(&json!({"rows": 1, "inputs": {}, "outputs": {}})).unwrap_err();
    assert!(told.contains("`inputs`: expected 1 rows of tensor `"), "{told}");
    let told = load_with(&json!({"rows": 1})).unwrap_err();
    assert!(told.contains("missing field `inputs`"), "{told}");
}

#[test]
fn the_native_library_is_told_before_main_how_to_behave() {
    for name in ["TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"] {
        assert!(std::env::var_os(name).is_some(), "{name} is not set");
    }
}

#[test]
fn fault_a_batch_of_another_size_is_refused_before_it_is_scored() {
    let mut scores = Vec::new();
    let error = open("net").score(&[0.0; 13], 1, &mut scores).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scoring 1 rows with model `net`: expected 12 values (1 rows of 12 features), found 13"
    );
}

#[test]
fn fault_nothing_or_a_file_instead_of_a_folder() {
    let nothing = MODELS.join("nothing");
    assert_eq!(
        refused(&nothing),
        format!("loading model `{}`: expected a folder, found nothing", nothing.display())
    );
    let file = MODELS.join("net.json");
    assert_eq!(
        refused(&file),
        format!("loading model `{}`: expected a folder, found a file", file.display())
    );
}

#[test]
fn fault_a_missing_file_is_named_with_what_is_there() {
    for file in ["manifest.json", "saved_model.pb", "variables"] {
        let copy = changed("net", |_| ());
        let path = copy.path().join(file);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        let message = refused(copy.path());
        assert!(message.contains(&format!("expected `{file}` in it, found `assets`")), "{message}");
    }
}

#[test]
fn fault_a_broken_saved_model_says_what_tensorflow_said() {
    let copy = changed("net", |_| ());
    fs::write(copy.path().join("saved_model.pb"), "not a protocol buffer").unwrap();
    let message = refused(copy.path());
    assert!(message.contains("with TensorFlow: "), "{message}");
}

#[test]
fn fault_another_signature_name_lists_those_found() {
    let copy = changed("other_signature", |manifest| {
        manifest["signature"] = json!("serving_default");
    });
    let message = refused(copy.path());
    assert!(message.contains("expected signature `serving_default`, found "), "{message}");
    assert!(message.contains("`predict`"), "{message}");
    open("other_signature");
}

#[test]
fn fault_another_input_or_output_name_lists_those_found() {
    let wrong = |name: &str, side: &str| {
        refused(changed(name, |manifest| manifest[side][0]["tensor"] = json!("z")).path())
    };
    let message = wrong("narrow", "inputs");
    assert!(message.contains("expected the inputs `z`, found `x`"), "{message}");
    let message = wrong("two", "outputs");
    assert!(message.contains("expected output `z`, found `parts`, `score`"), "{message}");
}

#[test]
fn fault_an_input_that_the_manifest_does_not_name_is_refused() {
    let message = refused(&MODELS.join("two_inputs"));
    assert!(message.contains("expected the inputs `x`, found `gain`, `x`"), "{message}");
}

#[test]
fn fault_another_element_type_is_refused() {
    let message = refused(&MODELS.join("double"));
    assert!(message.contains("tensor `x`: expected type float32, found float64"), "{message}");
    let copy = changed("net", |manifest| manifest["outputs"][0]["dtype"] = json!("int64"));
    let message = refused(copy.path());
    assert!(message.contains("expected type int64, found float32"), "{message}");
}

#[test]
fn fault_another_number_of_features_is_refused() {
    let message = refused(&MODELS.join("narrow"));
    let expected = "tensor `x`: expected shape [?, 12] by the manifest, found [?, 9]";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn fault_another_number_of_outputs_is_refused() {
    let copy = changed("two", |manifest| {
        manifest["outputs"][0]["names"] = json!(["heat"]);
        manifest["outputs"][0]["shape"] = json!([1]);
    });
    let message = refused(copy.path());
    let expected = "tensor `parts`: expected shape [?, 1] by the manifest, found [?, 2]";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn several_inputs_and_outputs_of_other_types_and_shapes_make_one_row() {
    let model = open("mixed");
    assert_eq!(model.signature().outputs, ["next", "a", "b", "exact"]);
    let exact = 0.1 + 1e-12;
    let large = 9_007_199_254_740_990.0;
    let rows = [
        [7.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.5, exact],
        [large, 0.0, 0.0, 0.0, 0.0, -1.0, 0.1, 1e300],
        [large + 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ];
    let scores = score(&model, &rows.concat());
    assert_eq!(scores[..4], [8.0, 10.0, 13.0, exact * 3.0]);
    assert_eq!(scores[4..8], [large + 1.0, -2.0, f64::from(0.1_f32 * 2.0), 1e300 * 3.0]);
    // What follows is not to be had in 53 bits.
    assert!(scores[8].is_nan(), "{}", scores[8]);
    assert_eq!(model.signature().misfit(&rows[1]), None);
    assert_eq!(model.signature().misfit(&[0.5; 8]), Some(0));
}

#[test]
fn fault_a_fixed_number_of_rows_is_refused() {
    let message = refused(&MODELS.join("fixed_rows"));
    assert!(message.contains("expected shape [?, 12]"), "{message}");
    assert!(message.contains("found [32, 12]"), "{message}");
}

#[test]
fn fault_other_features_are_refused_with_the_first_difference() {
    let names: Vec<String> = (0..WIDTH).map(|i| format!("f{i}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let net = open("net");
    net.signature().expect_features(&names).unwrap();
    names.swap(10, 11);
    let error = net.signature().expect_features(&names).unwrap_err();
    assert!(matches!(&error, ModelLoadError::Features { position: 10, .. }), "{error}");
}

/// Set in the process that the next test starts: the library is opened once a process.
const CHILD: &str = "TIDEFLOW_TEST_WITHOUT_LIBRARY";

#[test]
fn fault_without_the_native_library_the_message_says_what_to_do() {
    let net = MODELS.join("net");
    if std::env::var_os(CHILD).is_some() {
        let message = refused(&net);
        let expected = "expected `libtensorflow.so`, found none in `/nowhere`; run `make setup`, or \
                        name its folder in `TENSORFLOW_DIR`";
        assert!(message.contains(expected), "{message}");
        return;
    }
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fault_without_the_native_library_the_message_says_what_to_do"])
        .env(CHILD, "1")
        .env("TENSORFLOW_DIR", "/nowhere")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

/// Set in the process that the next test starts: a program that is not run by cargo.
const MOVED: &str = "TIDEFLOW_TEST_MOVED";

#[test]
fn a_program_finds_the_native_library_of_the_checkout_it_lies_in() {
    let net = MODELS.join("net");
    if std::env::var_os(MOVED).is_some() {
        TensorFlowModel::load(net).unwrap();
        return;
    }
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".tideflow/native");
    // On the file system of the program, which is large.
    let checkout = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (made, built) = (checkout.path().join(".tideflow"), checkout.path().join("target/release"));
    fs::create_dir_all(&built).unwrap();
    fs::create_dir(&made).unwrap();
    std::os::unix::fs::symlink(library, made.join("native")).unwrap();
    let program = built.join("program");
    fs::hard_link(std::env::current_exe().unwrap(), &program).unwrap();
    let run = Command::new(program)
        .args(["--exact", "a_program_finds_the_native_library_of_the_checkout_it_lies_in"])
        .env(MOVED, "1")
        .env_remove("TENSORFLOW_DIR")
        .env_remove("CARGO_MANIFEST_DIR")
        .current_dir(checkout.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}
