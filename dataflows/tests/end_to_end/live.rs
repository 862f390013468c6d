//! A job that is sent readings of now, and killed while it reads them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::crash::start::{Layout, Start};
use crate::fleet::Numbers;
use crate::topics::{Input, Sent, Topics, read};

#[expect(
    clippy::disallowed_methods,
    reason = "readings of now: which window each is in does not matter"
)]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_millis() as i64
}

/// Windows of half a second and small epochs; nothing goes of the log of bindings, which is read afterwards.
pub const LIVE: [&str; 5] = [
    "--window.length_ms=500",
    "--readings.out_of_orderness_ms=100",
    "--job.snapshot_every=1000000",
    "--job.shards=2",
    "--epochs.interval_ms=10",
];

pub const DEVICES: i64 = 40;

/// Sends a reading of every device ten times a second, until it is told to end; then one that closes every
/// window.
pub fn send_until(topics: &Topics, end: &AtomicBool) {
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

/// What a job's log of bindings says of its epochs, of those entries that count.
pub struct Bound {
    /// Of each epoch its watermark, and what it is bound to: versions, by the operator that they score in.
    pub epochs: BTreeMap<u64, (i64, Value)>,
    /// Epochs that something was ruled upon, and what.
    pub ruled: BTreeMap<u64, Value>,
}

impl Bound {
    /// Reads the log, from which nothing is deleted.
    pub fn read(topics: &Topics) -> Bound {
        let (mut epochs, mut ruled, mut newest) = (BTreeMap::new(), BTreeMap::new(), 0);
        for Sent { value, .. } in read(&topics.kafka, &format!("{}.bindings", topics.windows)) {
            let entry: Value = serde_json::from_slice(&value.expect("an entry")).expect("JSON");
            let generation = entry["generation"].as_u64().expect("a number");
            let epoch = |of: &Value| of["epoch"].as_u64().expect("a number");
            if let Some(binding) = entry.get("binding").filter(|_| generation >= newest) {
                let watermark = binding["watermark"].as_i64().expect("a number");
                epochs.insert(epoch(binding), (watermark, binding["chosen"].clone()));
            } else if let Some(ruling) = entry.get("ruling").filter(|_| generation >= newest) {
                let text = ruling["ruled"].as_str().expect("a text");
                let before = ruled.insert(epoch(ruling), serde_json::from_str(text).expect("JSON"));
                assert_eq!(before, None, "an epoch is ruled upon once");
            } else if entry.get("marker").is_some() {
                newest = newest.max(generation);
            }
        }
        Bound { epochs, ruled }
    }

    /// The epoch that has closed the windows that end here: the first whose watermark reaches it.
    pub fn closed(&self, window_end: i64) -> u64 {
        let mut epochs = self.epochs.iter();
        *epochs.find(|(_, (watermark, _))| *watermark >= window_end).expect("one has closed it").0
    }
}

/// Runs the job for a while, is killed in some way, and starts again with other workers.
pub fn kill_again_and_again(start: impl Fn(Layout) -> Start, kills: usize) -> Start {
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
        // None has ended by itself.
        let codes = run.end_however();
        assert!(codes.contains(&-9), "nobody was killed: {codes:?}");
    }
    start((2, 1))
}
