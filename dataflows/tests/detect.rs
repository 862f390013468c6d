//! Recordings judged by a TensorFlow model in the graph: as without the graph, bit for bit, on any number of
//! workers; and the program as its users run it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, PoisonError};

use tempfile::TempDir;
use tideflow::models::{ModelRef, Runtime};
use tideflow_dataflows::detect::{
    Detected, Format, Label, Method, Pump, Recording, Series, Turbofan, detect, features, offline,
    read, train,
};

/// Numbers that look random (Steele, Lea, Flood 2014).
struct Numbers(u64);

impl Numbers {
    /// Between -1 and 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / 2_f64.powi(63) - 1.0
    }
}

const PUMP_HEADER: &str = "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;\
                           Thermocouple;Voltage;Volume Flow RateRMS;anomaly;changepoint";

/// Two pumps of 700 rows, of which the flow falls by a fifth in the rows 550 to 650, and one of 50 rows.
fn pumps(folder: &Path) {
    let mut numbers = Numbers(1);
    for (name, rows) in [("valve/0.csv", 700), ("other/deep/1.csv", 700), ("short.csv", 50)] {
        let mut text = format!("{PUMP_HEADER}\n");
        for row in 0..rows {
            let fault = (550..650).contains(&row);
            let mut around = |middle: f64, by: f64| middle + by * numbers.next();
            let flow = around(if fault { 100.0 } else { 125.0 }, 1.0);
            let _ = writeln!(
                text,
                "2020-03-09 10:{:02}:{:02};{};{};{};{};{};{};{};{flow};{}.0;0.0",
                row / 60 % 60,
                row % 60,
                around(0.08, 0.002),
                around(0.13, 0.002),
                around(1.2, 0.2),
                around(0.1, 0.1),
                around(80.0, 0.5),
                around(25.0, 0.1),
                around(225.0, 5.0),
                u8::from(fault),
            );
        }
        put(&folder.join(name), &text);
    }
}

/// A wave of 900 rows with a spike at 700, and one that stands still.
fn series(folder: &Path) {
    let (mut numbers, mut wave) = (Numbers(2), String::from("timestamp,value\n"));
    let mut still = wave.clone();
    for row in 0..900 {
        let spike = if row == 700 { 8.0 } else { 0.0 };
        let value = (f64::from(row) / 12.0).sin() + 0.05 * numbers.next() + spike;
        let time = format!("2014-04-{:02} {:02}:00:00", 1 + row / 24, row % 24);
        let _ = writeln!(wave, "{time},{value}");
        let _ = writeln!(still, "{time},5.0");
    }
    put(&folder.join("a/wave.csv"), &wave);
    put(&folder.join("still.csv"), &still);
}

/// Engines that wear out: ten over their whole lives, and three that are stopped.
fn engines(folder: &Path) {
    let mut numbers = Numbers(3);
    let mut file = |name: &str, lives: &[(u32, u32)]| {
        let mut text = String::new();
        for (unit, (life, seen)) in (1..).zip(lives) {
            for cycle in 1..=*seen {
                let wear = 3.0 * (f64::from(cycle) / f64::from(*life)).powi(4);
                let _ = write!(text, "{unit} {cycle} 0.0 0.0 100.0");
                for sensor in 1..=21 {
                    let _ =
                        write!(text, " {}", f64::from(sensor) * 10.0 + wear + 0.3 * numbers.next());
                }
                text.push_str("  \n");
            }
        }
        put(&folder.join(name), &text);
    };
    let whole: Vec<(u32, u32)> = (0..10).map(|n| (130 + 9 * n, 130 + 9 * n)).collect();
    file("train_FD001.txt", &whole);
    file("test_FD001.txt", &[(150, 140), (180, 90), (200, 1)]);
}

fn put(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().expect("below a folder")).expect("the folder is ours");
    fs::write(file, text).expect("the folder is ours");
}

/// The models, each trained once on what is above.
struct Models {
    folder: TempDir,
    training: Mutex<()>,
}

static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for a while");
    Models { folder, training: Mutex::default() }
});

impl Models {
    fn of<M: Method>(&self, recordings: &[Recording], format: Format) -> PathBuf {
        // One test trains, the others wait.
        let _one = self.training.lock().unwrap_or_else(PoisonError::into_inner);
        let (data, out) = (
            self.folder.path().join(format!("{}.parquet", M::RECIPE)),
            self.folder.path().join(M::RECIPE),
        );
        if !out.exists() {
            let label = if format == Format::Cmapss { Label::Left } else { Label::None };
            features::<M>(recordings, label, &data, 2).expect("there are features");
            let data = (format != Format::Nab).then_some(data.as_path());
            train::<M>(data, &out).expect("the training package is there");
        }
        out
    }
}

/// What the graph says on one to four workers is what is said without it, by the same model.
fn same_as_offline<M: Method>(fill: fn(&Path), format: Format) -> Vec<Detected> {
    let folder = tempfile::tempdir().expect("a folder for a while");
    fill(folder.path());
    let (lives, _) = read(format, folder.path(), "train_FD001.txt").expect("recordings");
    let path = MODELS.of::<M>(&lives, format);
    let (recordings, _) = read(format, folder.path(), "test_FD001.txt").expect("recordings");
    let model = || ModelRef::folder(&path, None, Runtime::InProcess);
    let expected =
        offline::<M>(&recordings, model().current().expect("a model")).expect("it scores");
    assert!(!expected.is_empty());
    let run = |workers| {
        let found = detect::<M>(&recordings, model(), workers).expect("it runs");
        assert_eq!(found.failed, Vec::<String>::new());
        let bits = |o: &[_]| format!("{o:?}");
        assert_eq!(bits(&found.outcomes), bits(&expected), "{workers} workers");
        found
    };
    [1, 2, 4].map(run).into()
}

#[test]
fn oracle_pumps_in_the_graph_are_judged_as_without_it_and_a_fault_is_found() {
    let found = same_as_offline::<Pump>(pumps, Format::Skab);
    // In the order of the files' paths: `other/deep/1.csv`, `short.csv`, `valve/0.csv`.
    for part in [0, 2] {
        let alarms = found[0].outcomes.iter().filter(|o| o.part == part && o.alarm);
        let (within, beside): (Vec<_>, Vec<_>) = alarms.partition(|o| (550..660).contains(&o.row));
        assert!(
            within.len() > 80 && beside.len() < 15,
            "{} within, {} beside",
            within.len(),
            beside.len()
        );
    }
    assert!(found[0].outcomes.iter().all(|o| o.part != 1), "it never ends calibrating");
}

#[test]
fn oracle_series_in_the_graph_are_judged_as_without_it_and_a_spike_is_found() {
    let found = same_as_offline::<Series>(series, Format::Nab);
    let alarms: Vec<_> =
        found[0].outcomes.iter().filter(|o| o.alarm).map(|o| (o.part, o.row)).collect();
    assert!(alarms.contains(&(0, 700)), "{alarms:?}");
    assert!(alarms.iter().all(|(part, _)| *part == 0), "what stands still is no news: {alarms:?}");
    assert!(found[0].outcomes.iter().all(|o| (0.0..=1.0).contains(&o.score)));
}

#[test]
fn oracle_engines_in_the_graph_are_judged_as_without_it_and_worn_ones_have_less_left() {
    let found = same_as_offline::<Turbofan>(engines, Format::Cmapss);
    let last = |part| found[0].outcomes.iter().rfind(|o| o.part == part).expect("a row").score;
    assert!(last(0) < 40.0 && last(1) > 60.0, "{} and {}", last(0), last(1));
}

#[test]
fn a_row_is_judged_without_a_look_at_later_ones() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    pumps(folder.path());
    let (whole, _) = read(Format::Skab, folder.path(), "").expect("recordings");
    let path = MODELS.of::<Pump>(&whole, Format::Skab);
    let cut: Vec<Recording> = whole
        .iter()
        .cloned()
        .map(|r| {
            let rows = r.rows.len().min(560);
            Recording { times: r.times[..rows].to_vec(), rows: r.rows[..rows].to_vec(), ..r }
        })
        .collect();
    let run = |recordings: &[Recording]| {
        let model = ModelRef::folder(&path, None, Runtime::InProcess);
        detect::<Pump>(recordings, model, 2).expect("it runs").outcomes
    };
    let before: Vec<_> = run(&whole).into_iter().filter(|o| o.row < 560).collect();
    assert_eq!(run(&cut), before);
}

/// The program, in a folder of its own.
fn program(folder: &Path, args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_detect");
    Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .expect("it is built with the tests")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn the_program_trains_where_the_protocol_trains_and_writes_a_line_for_every_row() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    pumps(&folder.path().join("in"));
    let ended = program(
        folder.path(),
        &["--format", "skab", "--in", "in", "--out", "out/of/pumps", "--workers", "2"],
    );
    assert!(ended.status.success(), "{}", said(&ended));
    assert!(said(&ended).contains("3 recordings, 1450 rows, "), "{}", said(&ended));
    for (name, rows) in [("valve/0.csv", 700), ("other/deep/1.csv", 700), ("short.csv", 50)] {
        let text =
            fs::read_to_string(folder.path().join("out/of/pumps").join(name)).expect("a result");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines.len()), ("row,timestamp,score,alarm", rows + 1));
        assert_eq!(lines[1], "0,2020-03-09 10:00:00,0,0");
    }

    engines(&folder.path().join("in"));
    let ended = program(folder.path(), &["--format", "cmapss", "--in", "in", "--out", "out"]);
    assert!(ended.status.success(), "{}", said(&ended));
    let text = fs::read_to_string(folder.path().join("out/rul.csv")).expect("a result");
    let units: Vec<_> =
        text.lines().map(|line| line.split(',').next().unwrap_or_default()).collect();
    assert_eq!(units, ["unit", "1", "2", "3"]);
}

#[test]
fn the_program_writes_for_every_row_of_a_series_what_the_graph_says_of_it() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    series(&folder.path().join("in"));
    let (recordings, _) = read(Format::Nab, &folder.path().join("in"), "").expect("recordings");
    let path = MODELS.of::<Series>(&recordings, Format::Nab);
    let model = ModelRef::folder(&path, None, Runtime::InProcess);
    let outcomes = detect::<Series>(&recordings, model, 1).expect("it runs").outcomes;
    let model = path.to_str().expect("plain");
    let args = ["--format", "nab", "--in", "in", "--out", "out", "--model", model];
    let ended = program(folder.path(), &args);
    assert!(ended.status.success(), "{}", said(&ended));
    for (part, recording) in (0..).zip(&recordings) {
        let text = fs::read_to_string(folder.path().join("out").join(&recording.name));
        let text = text.expect("a result");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("row,timestamp,score"));
        let mut expected = vec![0.0; recording.rows.len()];
        let own = outcomes.iter().filter(|o| o.part == part);
        own.for_each(|outcome| expected[outcome.row as usize] = outcome.score);
        for (row, (score, time)) in expected.iter().zip(&recording.times).enumerate() {
            let fields: Vec<_> = lines.next().expect("a line a row").split(',').collect();
            assert_eq!(fields[..2], [row.to_string().as_str(), time.as_str()]);
            let found: f64 = fields[2].parse().expect("a score");
            assert_eq!(found.to_bits(), score.to_bits(), "{row} of {}", recording.name.display());
        }
        assert_eq!(lines.next(), None);
    }
}

#[test]
fn recordings_that_end_before_they_are_calibrated_get_a_line_for_every_row_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    pumps(&folder.path().join("all"));
    fs::create_dir(folder.path().join("in")).expect("the folder is ours");
    fs::copy(folder.path().join("all/short.csv"), folder.path().join("in/short.csv"))
        .expect("ours");
    let ended = program(folder.path(), &["--format", "skab", "--in", "in", "--out", "out"]);
    assert!(ended.status.success(), "{}", said(&ended));
    assert!(said(&ended).contains("every row gets score 0"), "{}", said(&ended));
    let text = fs::read_to_string(folder.path().join("out/short.csv")).expect("a result");
    assert_eq!(text.lines().count(), 51);
    assert!(text.lines().skip(1).all(|line| line.ends_with(",0,0")), "{text}");
}

#[test]
fn the_features_that_a_model_learns_from_are_those_that_the_graph_computes() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    engines(folder.path());
    let ended = program(
        folder.path(),
        &["features", "--format", "cmapss", "--in", ".", "--to", "f.parquet"],
    );
    assert!(ended.status.success(), "{}", said(&ended));
    assert!(said(&ended).contains("features of 1705 rows in f.parquet"), "{}", said(&ended));
    let magic = fs::read(folder.path().join("f.parquet")).expect("it is there");
    assert_eq!((&magic[..4], &magic[magic.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
}

#[test]
fn fault_files_that_are_no_recordings_are_named_and_keep_no_other_from_its_result() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let input = folder.path().join("in");
    series(&input);
    let (recordings, _) = read(Format::Nab, &input, "").expect("recordings");
    let path = MODELS.of::<Series>(&recordings, Format::Nab);
    put(&input.join("deep/empty.csv"), "");
    put(&input.join("other.csv"), "a,b\n1,2\n");
    put(&input.join("word.csv"), "timestamp,value\n2020,1\n2021,x\n");
    // A value that is missing is as the one before; columns stand in any order, lines end as on any system.
    put(
        &input.join("holes.csv"),
        "value,timestamp\r\n1,\"2020, first\"\r\n,2021\r\nNaN,2022\r\n2,2023\r\n",
    );
    let model = path.to_str().expect("plain");
    let args = ["--format", "nab", "--in", "in", "--out", "out", "--model", model];
    let ended = program(folder.path(), &args);
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    let files = recordings.len() + 4;
    for words in [
        format!("error: 3 of {files} files are no recordings, and left out:"),
        "reading `in/deep/empty.csv`: it is empty".into(),
        "reading `in/other.csv`: no column `timestamp`, only `a, b`".into(),
        "reading `in/word.csv`: line 3: expected a number, found `x`".into(),
        "`holes.csv`: 2 values are missing, the one before stands for each".into(),
    ] {
        assert!(said(&ended).contains(&words), "{words}: {}", said(&ended));
    }
    let holes = fs::read_to_string(folder.path().join("out/holes.csv")).expect("a result");
    assert!(holes.starts_with("row,timestamp,score\n0,\"2020, first\","), "{holes}");
    assert_eq!(holes.lines().count(), 5);
    for recording in &recordings {
        assert!(folder.path().join("out").join(&recording.name).exists());
    }
}

#[test]
fn fault_what_is_no_recording_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let refused = |args: &[&str]| {
        let ended = program(folder.path(), args);
        assert_eq!(ended.status.code(), Some(2), "{}", said(&ended));
        said(&ended)
    };
    fs::create_dir_all(folder.path().join("among")).expect("the folder is ours");
    let among = ["--format", "skab", "--in", ".", "--out", "among/results"];
    assert!(refused(&among).contains("results in `among/results` would lie among the recordings"));
    let skab = ["--format", "skab", "--in", "in", "--out", "out", "--model", "none"];
    assert!(refused(&skab).contains("error: reading `in`: "), "{}", refused(&skab));
    put(&folder.path().join("in/a.txt"), "");
    assert!(refused(&skab).contains("error: no `*.csv` below `in`"), "{}", refused(&skab));
    put(&folder.path().join("in/a.csv"), "datetime;Current\n");
    assert!(
        refused(&skab).contains(
            "reading `in/a.csv`: no column `Accelerometer1RMS`, only `datetime, Current`"
        ),
        "{}",
        refused(&skab)
    );
    put(
        &folder.path().join("in/a.csv"),
        &format!("{PUMP_HEADER}\nt;1;2;3;4;5;6;7;8;0;0\nt;1;2;3;x;5;6;7;8;0;0\n"),
    );
    assert!(refused(&skab).contains("line 3: expected a number, found `x`"), "{}", refused(&skab));
    put(&folder.path().join("in/test_FD001.txt"), "1 1 2 3\n");
    let cmapss = ["--format", "cmapss", "--in", "in", "--out", "out", "--model", "none"];
    assert!(
        refused(&cmapss).contains("line 1: expected 26 columns, found 4"),
        "{}",
        refused(&cmapss)
    );
    put(&folder.path().join("in/a.csv"), &format!("{PUMP_HEADER}\nt;1;2;3;4;5;6;7;8;0;0\n"));
    assert!(
        refused(&skab).contains("expected a folder, found nothing below"),
        "{}",
        refused(&skab)
    );
}
