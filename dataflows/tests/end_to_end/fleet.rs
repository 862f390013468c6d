//! Readings of a fleet that exists only here.

use std::fmt::Write;

use crate::topics::Input;

/// The first millisecond of the simulated time: the start of a minute.
pub const START: i64 = 1_700_000_040_000;
/// A window.
pub const MINUTE: i64 = 60_000;

/// Steele's SplitMix64: the same numbers in every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A fleet whose devices send in turns nobody can foresee, out of order by less than ten seconds.
pub struct Fleet {
    pub devices: u64,
    pub readings: u64,
    /// How much event time they take, in milliseconds.
    pub span_ms: u64,
    /// Partitions of the readings topic; most devices send to one of them.
    pub partitions: usize,
}

impl Fleet {
    /// The readings, in the order in which they are sent.
    pub fn inputs(&self) -> impl Iterator<Item = Input> + use<> {
        let Fleet { devices, readings, span_ms, partitions } = *self;
        let mut numbers = Numbers(7);
        (0..readings).map(move |n| {
            let device = numbers.below(devices);
            let sent = START + i64::try_from(n * span_ms / readings).expect("spans are short");
            // Never more than 10,000 before the latest so far: nothing is late.
            let ts = sent + numbers.below(10_001) as i64;
            let value = payload(device, ts, &mut numbers);
            // A few devices have no partition of their own.
            let place = if device % 10 == 9 { numbers.next() } else { device };
            Input {
                partition: (place % partitions as u64) as i32,
                key: Some(name(device).into_bytes()),
                value: Some(value.into_bytes()),
                timestamp: ts,
                ..Input::default()
            }
        })
    }
}

/// The name of a device.
pub fn name(device: u64) -> String {
    format!("d{device:06}")
}

/// A reading with numbers as sensors give them, in the shapes that JSON allows; the first few
/// devices send numbers that are hard to add up.
fn payload(device: u64, ts: i64, numbers: &mut Numbers) -> String {
    let id = name(device);
    let t = decimal(1_500 + numbers.below(8_000) as i64, 2);
    let v = decimal(numbers.below(5_000) as i64, 3);
    let c = decimal(numbers.below(4_000) as i64 - 100, 2);
    match device {
        // A large offset and a small spread.
        0 => {
            let large = format!("109951162777{}.{}", 1 + numbers.below(4), numbers.below(1_000));
            reading(&id, ts, &large, &v, &c)
        }
        // Every bit of a float, of either sign.
        1 => {
            let mut wild = || {
                let fraction = numbers.next() as f64 / 2_f64.powi(64) - 0.5;
                format!("{:e}", fraction * 2_f64.powi(numbers.below(80) as i32 - 40))
            };
            let (t, v, c) = (wild(), wild(), wild());
            reading(&id, ts, &t, &v, &c)
        }
        // Below what is kept exactly.
        2 => {
            let mut tiny = || format!("{}e-{}", numbers.below(1_000_000), 3 + numbers.below(30));
            let (t, v, c) = (tiny(), tiny(), tiny());
            reading(&id, ts, &t, &v, &c)
        }
        3 => reading(&id, ts, "-0.0", "0", "-0"),
        _ => match numbers.below(100) {
            0 => format!(
                "{{ \"current\" : {c},\n\"vibration\":{v}, \"note\": [\"\\u00fc\", {{}}], \
                 \"ts\": {ts}, \"temperature\": {t}, \"device\": \"\\u0064{}\" }}",
                &id[1..]
            ),
            _ => reading(&id, ts, &t, &v, &c),
        },
    }
}

/// A reading's JSON with its numbers as text.
pub fn reading(device: &str, ts: i64, temperature: &str, vibration: &str, current: &str) -> String {
    format!(
        "{{\"device\":\"{device}\",\"ts\":{ts},\"temperature\":{temperature},\
         \"vibration\":{vibration},\"current\":{current}}}"
    )
}

/// An ordinary reading of a device at a time, for the tests of a few readings.
pub fn at(partition: i32, device: &str, ts: i64) -> Input {
    Input {
        partition,
        key: Some(device.as_bytes().to_vec()),
        value: Some(reading(device, ts, "21.5", "0.8", "4.2").into_bytes()),
        timestamp: ts,
        ..Input::default()
    }
}

/// `units` with a point before its last digits.
fn decimal(units: i64, digits: u32) -> String {
    let scale = 10_i64.pow(digits);
    let mut text = String::new();
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (units.abs() / scale, units.abs() % scale);
    write!(text, "{sign}{whole}.{rest:0width$}", width = digits as usize)
        .expect("writing to memory");
    text
}
