//! Whether a job's memory stays as it is: `device_health`, as a user runs it, at full speed for ten minutes.
//! `soak BROKERS MODEL [SECONDS]`.
//!
//! A fleet of 10,000 devices sends as fast as the job reads: never more than [`AHEAD`] readings wait. Event
//! time runs with the readings, sixty a minute of each device. They are compressed, and the topics drop what
//! is old: a broker looks for that every five minutes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, park_timeout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tideflow::core::kafka::{KafkaConfig, NewTopic, create_topics};
use tideflow_benches::feed::Feed;
use tideflow_benches::program::{Running, beside};

const PARTITIONS: usize = 4;
const DEVICES: u64 = 10_000;
/// Event time from one reading of a device to its next.
const STEP_MS: u64 = 1_000;
/// The first reading's event time.
const START_MS: u64 = 1_700_000_000_000;
/// Readings that may be sent and not yet read.
const AHEAD: u64 = 1_000_000;
/// Readings made at once.
const BATCH: u64 = 10_000;
/// What a topic keeps: more than may wait.
const KEEPS: [(&str, &str); 3] = [
    ("retention.bytes", "268435456"),
    ("segment.bytes", "67108864"),
    // Event times lie in the past, and Kafka timestamps do not.
    ("message.timestamp.type", "LogAppendTime"),
];
/// A row of the table.
const ROW: Duration = Duration::from_secs(60);
/// Between two looks at the job.
const LOOK: Duration = Duration::from_millis(200);
const TOPICS: [&str; 6] = ["readings", "windows", "scores", "alarms", "late", "rejects"];

/// What has been sent and what has been read.
#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    read: AtomicU64,
    over: AtomicBool,
}

/// Sends readings of one device after the other, until it is over.
fn feed(kafka: &KafkaConfig, topic: &str, counts: &Counts) -> Result<()> {
    let options = [("compression.codec".to_string(), "lz4".to_string())].into();
    let feed = Feed::of(&KafkaConfig { options, ..kafka.clone() }, topic, PARTITIONS)?;
    let over = || counts.over.load(Ordering::Acquire);
    let mut sent = 0;
    while !over() {
        if sent >= counts.read.load(Ordering::Acquire) + AHEAD {
            park_timeout(Duration::from_millis(5));
            continue;
        }
        let readings = (sent..sent + BATCH).map(|seq| {
            let device = format!("d{:06}", seq % DEVICES);
            let (ts, noise) = (START_MS + seq / DEVICES * STEP_MS, seq % 97);
            let value = format!(
                "{{\"device\":\"{device}\",\"ts\":{ts},\"temperature\":21.{noise:02},\"vibration\":0.8,\
                 \"current\":4.2}}"
            );
            (device, value)
        });
        feed.send(readings, over)?;
        sent += BATCH;
        counts.sent.store(sent, Ordering::Release);
    }
    feed.flush()
}

/// The readings that the job says it has taken.
fn read_so_far(page: &str) -> Result<u64> {
    let mut stream = TcpStream::connect(page)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let line = text.lines().find(|line| line.starts_with("tideflow_readings_total{"));
    let figure = line.and_then(|line| line.rsplit_once(' ')).map_or("0", |(_, figure)| figure);
    Ok(figure.parse::<f64>()? as u64)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, model, rest @ ..] = &args[..] else {
        anyhow::bail!("expected BROKERS MODEL [SECONDS]")
    };
    let seconds = rest.first().map_or(Ok(600), |n| n.parse()).context("SECONDS: a number")?;
    let kafka = KafkaConfig::plaintext(brokers);
    let name = |topic: &str| format!("soak-{topic}-{}", std::process::id());
    let names = TOPICS.map(name);
    let topics =
        names.each_ref().map(|n| NewTopic { config: &KEEPS, ..NewTopic::new(n, PARTITIONS) });
    create_topics(&kafka, &topics)?;
    let state = tempfile::tempdir()?;
    let mut command = beside("device_health");
    command.args(["run", "--http.bind=127.0.0.1:0"]);
    command.arg(format!("--kafka.brokers={brokers}"));
    command.arg(format!("--job.name={}", name("job")));
    command.arg(format!("--job.state={}", state.path().display()));
    command.arg(format!("--model.reference={model}"));
    command.arg(format!("--readings.topic={}", names[0]));
    for (topic, name) in TOPICS.iter().zip(&names).skip(1) {
        command.arg(format!("--topics.{topic}={name}"));
    }
    let job = Running::start(command)?;
    let (_, line) = job.line("address=")?;
    let page: String = line.rsplit_once("address=").context("no address")?.1.trim().to_string();
    job.says("taken over")?;

    let counts = Arc::<Counts>::default();
    let feeder = {
        let (kafka, topic, counts) = (kafka.clone(), names[0].clone(), counts.clone());
        thread::spawn(move || feed(&kafka, &topic, &counts))
    };
    println!("| minute | readings/s | resident MB at its end | most |");
    println!("|---|---|---|---|");
    let mut resident = Vec::new();
    let rows = (Duration::from_secs(seconds).as_secs_f64() / ROW.as_secs_f64()).ceil() as u32;
    for minute in 1..=rows {
        let (since, before, mut most) = (Instant::now(), counts.read.load(Ordering::Acquire), 0);
        while since.elapsed() < ROW {
            park_timeout(LOOK);
            counts.read.store(read_so_far(&page)?, Ordering::Release);
            most = most.max(job.resident_kb()?);
        }
        let read = counts.read.load(Ordering::Acquire) - before;
        let rate = read as f64 / since.elapsed().as_secs_f64();
        resident.push(job.resident_kb()?);
        println!(
            "| {minute} | {rate:.0} | {} | {} |",
            resident[resident.len() - 1] / 1024,
            most / 1024
        );
    }
    counts.over.store(true, Ordering::Release);
    feeder.join().expect("it does not panic")?;
    let (sent, since) = (counts.sent.load(Ordering::Acquire), Instant::now());
    while read_so_far(&page)? < sent {
        ensure!(since.elapsed() < ROW, "it has not read all that was sent");
        park_timeout(LOOK);
    }
    job.stop()?;
    println!("\n{sent} readings sent, and read.");
    if let [_, _, third, .., last] = resident[..] {
        println!(
            "At the end {:.2} of what was resident after three minutes.",
            last as f64 / third as f64
        );
    }
    Ok(())
}
