//! The messages of a fleet, in the order they are sent.

use super::config::{FleetConfig, FleetConfigError};
use super::fault::Fault;
use super::machine::{Machine, Memory};
use super::payload::{self, Malformed};
use super::random::Random;
use super::truth::{Counts, Kind, Truth};

/// The spread of a late reading's age beyond `late_by_ms`.
const LATE_SPREAD_MS: u32 = 60_000;
/// Names are `d` and six digits.
const NAME_LEN: usize = 7;

/// One Kafka message, valid until the next is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The record's key: the device's name, also where the payload is malformed.
    pub key: &'a str,
    /// The record's value; empty for [`Malformed::Empty`].
    pub payload: &'a [u8],
    /// The record's timestamp: the simulated time of sending, ms since the Unix epoch.
    pub timestamp_ms: i64,
    /// The reading's `ts`, ms since the Unix epoch; for a malformed one, what it would have been.
    pub ts_ms: i64,
    /// What should become of it.
    pub kind: Kind,
    /// Index of the device.
    pub device: u32,
}

/// A fleet that sends; memory is about 200 bytes a device.
#[derive(Clone, Debug)]
pub struct Fleet {
    config: FleetConfig,
    memory: Memory,
    random: Random,
    devices: Vec<Device>,
    /// Every device once a round, in an order drawn anew each round.
    order: Vec<u32>,
    sent: u64,
    payload: Vec<u8>,
    truth: Truth,
}

#[derive(Clone, Debug)]
struct Device {
    name: [u8; NAME_LEN],
    machine: Machine,
    /// Its faults among those of the truth, which are sorted by device.
    faults: (u32, u32),
}

impl Fleet {
    /// A fleet about to send its first message.
    ///
    /// # Errors
    /// [`FleetConfigError`] names the field of `config` that cannot be simulated.
    pub fn new(config: FleetConfig) -> Result<Self, FleetConfigError> {
        config.validate()?;
        let mut faults = config.faults.clone();
        faults.sort_by_key(|fault| (fault.device, fault.from_ms));
        let devices = (0..config.devices).map(|index| Device::new(&config, index, &faults));
        let period_s = f64::from(config.devices) * f64::from(config.time_factor)
            / f64::from(config.readings_per_s);
        Ok(Fleet {
            memory: Memory::new(period_s),
            random: Random::new(config.seed, 0),
            devices: devices.collect(),
            order: (0..config.devices).collect(),
            sent: 0,
            payload: Vec::with_capacity(160),
            truth: Truth { counts: Counts::default(), faults },
            config,
        })
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &FleetConfig {
        &self.config
    }

    /// What has been sent so far, and the faults of the whole run.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The Kafka timestamp of the next message, ms since the Unix epoch; `None` after the last.
    pub fn next_timestamp(&self) -> Option<i64> {
        if self.sent >= self.config.messages() {
            return None;
        }
        let event_ms = u128::from(self.sent) * 1_000 * u128::from(self.config.time_factor)
            / u128::from(self.config.readings_per_s);
        Some(self.config.start_ts_ms + event_ms as i64)
    }

    /// The next message sent before `until_ms` of simulated time; `None` when there is no more
    /// before it, or in the run.
    ///
    /// A producer in step with the clock asks, every few ms, for all messages before
    /// [`FleetConfig::event_time`] of the time since its start.
    pub fn next_before(&mut self, until_ms: i64) -> Option<Message<'_>> {
        let timestamp_ms = self.next_timestamp()?;
        if timestamp_ms >= until_ms {
            return None;
        }
        Some(self.send(timestamp_ms))
    }

    /// The next message of the run, as fast as they are asked for; `None` after the last.
    pub fn next_message(&mut self) -> Option<Message<'_>> {
        let timestamp_ms = self.next_timestamp()?;
        Some(self.send(timestamp_ms))
    }

    fn send(&mut self, timestamp_ms: i64) -> Message<'_> {
        let index = self.next_device();
        let kind = self.draw_kind(timestamp_ms);
        let ts_ms = self.draw_ts(kind, timestamp_ms);
        let device = &mut self.devices[index as usize];
        let faults = &self.truth.faults[device.faults.0 as usize..device.faults.1 as usize];
        let values = device.machine.read(ts_ms, &self.memory, faults, &mut self.random);
        payload::write_reading(&mut self.payload, &device.name, ts_ms, &values);
        if let Kind::Malformed(how) = kind {
            payload::spoil(&mut self.payload, how, &mut self.random);
        }
        self.truth.counts.add(kind);
        self.sent += 1;
        Message {
            key: std::str::from_utf8(&device.name).expect("a name is a `d` and digits"),
            payload: &self.payload,
            timestamp_ms,
            ts_ms,
            kind,
            device: index,
        }
    }

    /// One step of a Fisher-Yates shuffle that starts again each round.
    fn next_device(&mut self) -> u32 {
        let count = self.config.devices;
        let slot = (self.sent % u64::from(count)) as u32;
        let pick = slot + self.random.below(count - slot);
        self.order.swap(slot as usize, pick as usize);
        self.order[slot as usize]
    }

    fn draw_kind(&mut self, timestamp_ms: i64) -> Kind {
        let config = &self.config;
        let draw = self.random.unit();
        let bad_clock = config.late_share + config.bad_clock_share;
        if draw < config.late_share {
            // A reading from before the run, or from its first window, might be in time.
            let warm_up = i64::from(config.late_by_ms) + 2 * i64::from(LATE_SPREAD_MS);
            let warm = timestamp_ms - config.start_ts_ms >= warm_up;
            if warm { Kind::Late } else { Kind::Good }
        } else if draw < bad_clock {
            Kind::BadClock
        } else if draw < bad_clock + config.malformed_share {
            let way = self.random.below(Malformed::ALL.len() as u32);
            Kind::Malformed(Malformed::ALL[way as usize])
        } else {
            Kind::Good
        }
    }

    fn draw_ts(&mut self, kind: Kind, timestamp_ms: i64) -> i64 {
        let config = &self.config;
        match kind {
            Kind::Late => {
                let more = self.random.below(LATE_SPREAD_MS);
                timestamp_ms - i64::from(config.late_by_ms) - i64::from(more)
            }
            Kind::BadClock => {
                let ahead = config.bad_clock_ahead_ms;
                let more = self.random.below(ahead.max(1));
                timestamp_ms + i64::from(ahead) + i64::from(more)
            }
            Kind::Good | Kind::Malformed(_) => {
                // Squared: most readings are fresh, a few as old as can be.
                let share = self.random.unit();
                let delay = share * share * f64::from(config.delay_max_ms);
                (timestamp_ms - delay as i64).max(config.start_ts_ms)
            }
        }
    }
}

impl Device {
    fn new(config: &FleetConfig, index: u32, faults: &[Fault]) -> Self {
        let mut name = *b"d000000";
        let mut rest = index;
        for digit in name[1..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let first = faults.partition_point(|fault| fault.device < index);
        let end = faults.partition_point(|fault| fault.device <= index);
        Device {
            name,
            machine: Machine::new(config.seed, index, config.start_ts_ms),
            faults: (first as u32, end as u32),
        }
    }
}
