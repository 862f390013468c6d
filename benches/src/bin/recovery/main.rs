//! How long a job is away that is killed and started again at once: from the start of the process to its
//! first new committed result, and where the time goes. `recovery BROKERS [DEVICES [MODEL [2]]]`.
//!
//! The job is a program beside this one: the workload `latency` of `tideflow-peer`, a running mean for each
//! device with one result a reading; or, given its model, `device_health` as a user runs it, with its checks,
//! open windows of all devices, and a dead letter now and then as what it publishes. With a 2 it is two processes, of
//! which one is killed; supervisors start both again, and it is measured from the kill.

mod job;
mod pair;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, park_timeout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tideflow::core::kafka::{KafkaConfig, NewTopic, create_topics};
use tideflow::sources::kafka::{BatchConsumer, Polled, StartOffset};
use tideflow_benches::feed::Feed;
use tideflow_benches::program::Running;

use job::{Job, RATE};
use pair::Pair;

const PARTITIONS: usize = 4;
/// Kills, each followed by a start.
const KILLS: usize = 10;
/// What a job has to itself between a start and the next kill: a snapshot is taken every ten seconds.
const LIFE: Duration = Duration::from_secs(14);
/// Longest wait for something that comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a start says, in order.
const STEPS: [&str; 3] = ["taking over", "taken over", "first results published"];

/// Sends readings of one device after the other, at the rate, until it is told to stop.
fn feed(
    kafka: &KafkaConfig,
    topic: &str,
    job: &Job,
    devices: u64,
    over: &AtomicBool,
) -> Result<()> {
    let feed = Feed::of(kafka, topic, PARTITIONS)?;
    let (mut sent, since) = (0, Instant::now());
    while !over.load(Ordering::Acquire) {
        let due = (since.elapsed().as_secs_f64() * RATE as f64) as u64;
        let readings = (sent..due).map(|seq| {
            let device = format!("d{:06}", seq % devices);
            let value = job.reading(&device, seq);
            (device, value)
        });
        feed.send(readings, || over.load(Ordering::Acquire))?;
        sent = due;
        park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits for a committed record.
fn next_record(consumer: &mut BatchConsumer) -> Result<Instant> {
    let since = Instant::now();
    loop {
        let mut found = None;
        let _ = consumer.poll(1_000, |polled| {
            if let Polled::Message(_) = polled {
                found.get_or_insert_with(Instant::now);
            }
        });
        if let Some(at) = found {
            return Ok(at);
        }
        ensure!(since.elapsed() < PATIENCE, "no committed record");
        park_timeout(Duration::from_millis(1));
    }
}

/// Reads whatever has come for so long.
fn drain(consumer: &mut BatchConsumer, time: Duration) {
    let since = Instant::now();
    while since.elapsed() < time {
        if consumer.poll(1_000, |_| ()) == 0 {
            park_timeout(Duration::from_millis(1));
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let brokers = args.first().context("expected BROKERS [DEVICES [MODEL [2]]]")?;
    let devices = args.get(1).map_or(Ok(100_000), |n| n.parse()).context("DEVICES: a number")?;
    let job = Arc::new(args.get(2).map_or(Job::Latency, |m| Job::Health { model: m.clone() }));
    let kafka = KafkaConfig::plaintext(brokers);
    let id = std::process::id();
    let (input, outputs) = (format!("recovery-in-{id}"), job.outputs(id));
    let topics = [&input].into_iter().chain(&outputs).map(|name| NewTopic::new(name, PARTITIONS));
    create_topics(&kafka, &topics.collect::<Vec<_>>())?;
    let state = tempfile::tempdir()?;
    let command = || job.command(brokers, &input, &outputs, state.path());

    let over = Arc::new(AtomicBool::new(false));
    let feeder = {
        let (kafka, input, job, over) = (kafka.clone(), input.clone(), job.clone(), over.clone());
        thread::spawn(move || feed(&kafka, &input, &job, devices, &over))
    };
    let mut consumer = BatchConsumer::new(&kafka, &outputs[0], "recovery", 65_536)?;
    let all = 0..PARTITIONS as i32;
    let latest: Vec<_> = all.map(|p| (p, StartOffset::Latest)).collect();
    consumer.assign(&consumer.resolve(&latest)?)?;

    let measured = match args.get(3).map(String::as_str) {
        None => alone(&command, &mut consumer),
        Some("2") => pair(&command(), &mut consumer),
        Some(other) => anyhow::bail!("{other} processes: expected 2"),
    };
    over.store(true, Ordering::Release);
    feeder.join().expect("it does not panic")?;
    let (steps, rows) = measured?;
    print(steps, &rows);
    Ok(())
}

/// The steps of a recovery, and of each the milliseconds from the beginning until each was done.
type Measured = (&'static [&'static str], Vec<Vec<f64>>);

/// A process that is killed and started again at once: from its start.
fn alone(command: &dyn Fn() -> Command, consumer: &mut BatchConsumer) -> Result<Measured> {
    let mut running = Running::start(command())?;
    running.says(STEPS[2])?;
    let mut rows = Vec::new();
    for _ in 0..KILLS {
        drain(consumer, LIFE);
        drop(running);
        // What it had committed is not new.
        drain(consumer, Duration::from_millis(20));
        running = Running::start(command())?;
        let [taking, taken] = [running.says(STEPS[0])?, running.says(STEPS[1])?];
        let first = next_record(consumer)?;
        rows.push(vec![taking, taken, running.milliseconds(first)]);
    }
    let steps = &[
        "process, checks and topics, until a generation is taken",
        "fencing, progress, bindings",
        "state, replay, first commit",
    ];
    Ok((steps, rows))
}

/// Two processes of which one is killed: from the kill.
fn pair(command: &Command, consumer: &mut BatchConsumer) -> Result<Measured> {
    let pair = Pair::start(command)?;
    pair.says(STEPS[2])?;
    let mut rows = Vec::new();
    for _ in 0..KILLS {
        drain(consumer, LIFE);
        let killed = pair.kill()?;
        let ended = pair.ended()?;
        // What had been committed is not new.
        drain(consumer, Duration::from_millis(20));
        let [taking, taken] = [pair.says(STEPS[0])?, pair.says(STEPS[1])?];
        let first = next_record(consumer)?;
        let since = |at: Instant| (at - killed).as_secs_f64() * 1e3;
        rows.push([ended, taking, taken, first].map(since).to_vec());
    }
    let steps = &[
        "until the other process has noticed, and ended",
        "wait before a start, process, checks and topics, meeting, until a generation is taken",
        "fencing, progress, bindings",
        "state, replay, first commit",
    ];
    Ok((steps, rows))
}

fn print(steps: &[&str], rows: &[Vec<f64>]) {
    println!("| step | median ms | longest ms |");
    println!("|---|---|---|");
    let line = |step: &str, times: Vec<f64>| {
        let longest = times.iter().copied().fold(0.0, f64::max);
        println!("| {step} | {:.0} | {longest:.0} |", median(times));
    };
    for (index, step) in steps.iter().enumerate() {
        let before = |row: &[f64]| index.checked_sub(1).map_or(0.0, |before| row[before]);
        line(step, rows.iter().map(|row| row[index] - before(row)).collect());
    }
    line("**in all**", rows.iter().map(|row| row[steps.len() - 1]).collect());
}
