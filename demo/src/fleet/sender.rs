//! The fleet, sending to Kafka in step with the clock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tideflow::core::kafka::KafkaConfig;
use tideflow::sinks::kafka::{RawProducer, Record, TopicHandle, partition_for};
use tideflow::sources::simulate::{Fleet, Kind, Truth};

use super::moments::{Moments, Passing};

/// The time between two looks at the clock.
const STEP: Duration = Duration::from_millis(2);

/// What the others may look at while the fleet sends.
#[derive(Default)]
pub struct Progress {
    /// Messages given to the producer.
    pub sent: AtomicU64,
    /// How far simulated time has come, ms since the Unix epoch.
    pub simulated_ms: AtomicI64,
    stop: AtomicBool,
}

/// What a fleet has sent in all.
pub struct Sent {
    /// By the simulator's own count.
    pub truth: Truth,
    /// The end of simulated time, ms since the Unix epoch.
    pub until_ms: i64,
    /// The time it took.
    pub took: Duration,
}

/// Where the readings go, and how windows are made of them there.
pub struct Destination<'a> {
    /// The cluster.
    pub kafka: &'a KafkaConfig,
    /// The topic.
    pub topic: &'a str,
    /// Its partitions.
    pub partitions: usize,
    /// The length of a window, ms of event time.
    pub length_ms: i64,
    /// The out-of-orderness bound, ms of event time.
    pub bound_ms: i64,
}

/// A thread that sends.
pub struct Sender {
    progress: Arc<Progress>,
    thread: JoinHandle<anyhow::Result<Sent>>,
}

impl Sender {
    /// Starts to send.
    ///
    /// # Errors
    /// When there can be no producer.
    pub fn start(
        fleet: Fleet,
        to: &Destination<'_>,
        moments: Arc<Moments>,
        progress: Arc<Progress>,
    ) -> anyhow::Result<Sender> {
        let producer = Arc::new(RawProducer::new(to.kafka)?);
        let topic = producer.topic(to.topic)?;
        let start_ms = fleet.config().start_ts_ms;
        let (length_ms, bound_ms, count) = (to.length_ms, to.bound_ms, to.partitions);
        let partitions = partitions(fleet.config().devices, count);
        let told = progress.clone();
        let run = move || {
            let passing = Passing::new(&moments, count, length_ms, bound_ms, start_ms);
            send(fleet, &producer, &topic, &partitions, passing, &told)
        };
        let thread = thread::Builder::new().name("fleet".into()).spawn(run)?;
        Ok(Sender { progress, thread })
    }

    /// Whether it has sent everything, or failed.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops if it has not sent everything yet: what was sent.
    ///
    /// # Errors
    /// When a message could not be delivered.
    pub fn end(self) -> anyhow::Result<Sent> {
        self.progress.stop.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(outcome) => outcome.context("sending the readings"),
            Err(_) => bail!("sending the readings: the thread has panicked"),
        }
    }
}

/// The simulator's name of a device.
pub fn device_name(device: u32) -> String {
    format!("d{device:06}")
}

/// The partition of each device: as the Java clients decide.
fn partitions(devices: u32, partitions: usize) -> Vec<i32> {
    let partition = |device| partition_for(device_name(device).as_bytes(), partitions);
    (0..devices).map(partition).collect()
}

/// How many partitions get readings.
pub fn partitions_used(devices: u32, count: usize) -> usize {
    partitions(devices, count).into_iter().collect::<BTreeSet<_>>().len()
}

fn send(
    mut fleet: Fleet,
    producer: &RawProducer,
    topic: &TopicHandle,
    partitions: &[i32],
    mut passing: Passing<'_>,
    progress: &Progress,
) -> anyhow::Result<Sent> {
    let config = fleet.config().clone();
    let (begun, mut sent) = (Instant::now(), 0);
    let stopped = || progress.stop.load(Ordering::Acquire);
    while !stopped() && fleet.next_timestamp().is_some() {
        let until_ms = config.event_time(begun.elapsed());
        while !stopped()
            && let Some(message) = fleet.next_before(until_ms)
        {
            let partition = partitions[message.device as usize];
            if message.kind == Kind::Good {
                passing.saw(partition as usize, message.ts_ms);
            }
            let (key, value) = (Some(message.key.as_bytes()), Some(message.payload));
            let record = Record { partition, key, value };
            producer.produce_at(topic, record, message.timestamp_ms, || false)?;
            sent += 1;
            progress.sent.store(sent, Ordering::Release);
            progress.simulated_ms.store(message.timestamp_ms, Ordering::Release);
        }
        thread::park_timeout(STEP);
    }
    let took = begun.elapsed();
    producer.flush(|| false)?;
    let until_ms = progress.simulated_ms.load(Ordering::Acquire);
    Ok(Sent { truth: fleet.truth().clone(), until_ms, took })
}

#[cfg(test)]
mod tests {
    use tideflow::sources::simulate::FleetConfig;

    use super::*;

    #[test]
    fn a_device_has_the_name_that_the_simulator_gives_it() {
        let config = FleetConfig { devices: 30, duration_s: 1, ..FleetConfig::default() };
        let mut fleet = Fleet::new(config).unwrap();
        let mut seen = BTreeSet::new();
        while let Some(message) = fleet.next_message() {
            assert_eq!(message.key, device_name(message.device));
            seen.insert(message.device);
        }
        assert_eq!(seen.len(), 30);
    }
}
