//! A batch over a million readings, on one process and on two.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use tideflow::core::kafka::testing::TestBroker;

use crate::fleet::{Fleet, START, at};
use crate::program::{Running, device_health};
use crate::python::{model, python};
use crate::topics::{Input, Sent, Topics, dump};

const OUTPUTS: usize = 8;
/// `raise_above`, `clear_below`, `windows_min`: so that many devices have alarms that come and go.
const ALARM: [&str; 3] = ["0.23", "0.225", "2"];

/// Free ports, one a process, as a host file: on a loopback address of their own, of which no connection of anybody
/// else can take one in between.
pub fn hostfile(folder: &Path, processes: usize) -> String {
    static FILES: AtomicU16 = AtomicU16::new(0);
    let [high, low] = FILES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let own = Ipv4Addr::new(127, 1 + (std::process::id() % 250) as u8, high, low);
    let free: Vec<_> =
        (0..processes).map(|_| TcpListener::bind((own, 0)).expect("a free port")).collect();
    let lines: String =
        free.iter().map(|l| format!("{}\n", l.local_addr().expect("bound"))).collect();
    let path = folder.join("hosts");
    std::fs::write(&path, lines).expect("the folder is ours");
    path.to_str().expect("plain").to_owned()
}

/// Writes readings to a file, one a line.
pub fn copy<'a>(path: &Path, inputs: impl IntoIterator<Item = &'a Input>) {
    let mut file = Copy::new(path);
    inputs.into_iter().for_each(|input| file.add(input));
}

/// Sends the fleet's readings, and writes them to a file too.
fn keep(fleet: &Fleet, topics: &Topics, path: &Path) {
    let mut file = Copy::new(path);
    topics.send(fleet.inputs().inspect(|input| file.add(input)));
}

/// Readings on disk; dropped, it is whole.
pub struct Copy(BufWriter<File>);

impl Copy {
    pub fn new(path: &Path) -> Copy {
        Copy(BufWriter::with_capacity(1 << 20, File::create(path).expect("the folder is ours")))
    }

    pub fn add(&mut self, input: &Input) {
        let mut line = input.value.clone().unwrap_or_default();
        // JSON allows a line's end wherever it allows a space.
        line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        line.push(b'\n');
        self.0.write_all(&line).expect("the disk has room");
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.0.flush().expect("the disk has room");
    }
}

/// Runs the batch with `flags` for each process: all of them end by themselves and well.
fn run(topics: &Topics, processes: &[&[&str]]) {
    let since = Instant::now();
    let running: Vec<_> = processes
        .iter()
        .map(|flags| {
            let mut command = device_health("run", topics, &model("health"));
            for (key, value) in ["raise_above", "clear_below", "windows_min"].iter().zip(ALARM) {
                command.arg(format!("--alarm.{key}={value}"));
            }
            Running::start(command.arg("--readings.until=end").args(*flags))
        })
        .collect();
    for process in running {
        let ended = process.end();
        ended.with_code(0);
    }
    println!("{} processes: {:?}", processes.len(), since.elapsed());
}

/// A topic's records by what they say, in an order of their own: without offset and time.
pub fn content(mut records: Vec<Sent>) -> Vec<Sent> {
    for record in &mut records {
        (record.offset, record.timestamp) = (0, None);
    }
    records.sort();
    records
}

/// Windows, scores and alarms of a run; there is nothing else.
fn results(topics: &Topics) -> [Vec<Sent>; 3] {
    for topic in [&topics.late, &topics.rejects] {
        let found = topics.read(topic);
        assert!(found.is_empty(), "{} on `{topic}`, first {:?}", found.len(), found[0]);
    }
    [&topics.windows, &topics.scores, &topics.alarms].map(|topic| content(topics.read(topic)))
}

#[test]
fn oracle_a_million_readings_give_the_windows_and_scores_recomputed_on_one_process_and_on_two() {
    let broker = TestBroker::shared();
    let fleet = Fleet { devices: 1_000, readings: 1_000_000, span_ms: 40 * 60_000, partitions: 4 };
    let one = Topics::new(broker, fleet.partitions, OUTPUTS);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let file = |name: &str| folder.path().join(name);
    let since = Instant::now();
    keep(&fleet, &one, &file("readings"));
    println!("sent: {:?}", since.elapsed());

    run(&one, &[&["--workers.threads=2"]]);
    let [windows, scores, alarms] = results(&one);
    dump(&file("windows"), &windows);
    dump(&file("scores"), &scores);
    dump(&file("alarms"), &alarms);
    let since = Instant::now();
    let partitions = OUTPUTS.to_string();
    let found =
        python("recompute.py", &[&file("readings"), &file("windows"), Path::new(&partitions)]);
    println!("windows: {}{:?}", found, since.elapsed());
    assert!(found.contains("\"readings\": 1000000"), "{found}");
    let since = Instant::now();
    let (keras, alarm) = (model("health.keras"), ALARM.map(Path::new));
    let files = ["windows", "scores", "alarms"].map(file);
    let files: Vec<&Path> = [&keras].into_iter().chain(&files).map(|p| p.as_path()).collect();
    let found = python("rescore.py", &[&files[..], &alarm[..]].concat());
    println!("scores: {}{:?}", found, since.elapsed());

    let two = Topics::reading(broker, &one.readings, OUTPUTS);
    let hosts = format!("--workers.hostfile={}", hostfile(folder.path(), 2));
    run(&two, &[&[&hosts, "--workers.process=0"], &[&hosts, "--workers.process=1"]]);
    let again = results(&two);
    assert!(again[0] == windows, "other windows on two processes");
    assert!(again[1] == scores, "other scores on two processes");
    assert!(again[2] == alarms, "other alarms on two processes");
}

#[test]
fn a_batch_ends_by_itself_however_little_there_is_to_read() {
    let topics = Topics::new(TestBroker::shared(), 4, 1);
    run(&topics, &[&["--workers.threads=3"]]);
    assert_eq!(topics.read(&topics.windows), []);
    topics.send([at(2, "d", START)]);
    // It has come to its end: what has come since is for another job.
    run(&topics, &[&["--workers.threads=2"]]);
    assert_eq!(topics.read(&topics.windows), []);
    run(&topics, &[&["--workers.threads=3", "--job.delivery=at_least_once"]]);
    assert_eq!(topics.read(&topics.windows).len(), 1);
}
