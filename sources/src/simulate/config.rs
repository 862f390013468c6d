//! Size, speed, seed and bad input of a simulated fleet.

use std::time::Duration;

use super::fault::Fault;

/// Most devices a fleet can have: a name has six digits.
pub const DEVICES_MAX: u32 = 1_000_000;

/// Longest delay of a good reading, ms: the length of the windows in mind.
const DELAY_MAX_MS: u32 = 60_000;

/// What [`Fleet::new`](super::Fleet::new) makes. The default is the fleet of the demo, healthy:
/// 2,000 devices, 20,000 readings a second, event time 60 times faster than the clock, 30 s.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetConfig {
    /// Number of devices, named `d000000` upward; 1 to [`DEVICES_MAX`].
    pub devices: u32,
    /// Messages sent in a second of wall-clock time.
    ///
    /// With `time_factor` it decides how often a device reports: every
    /// `devices * time_factor / readings_per_s` seconds of event time, 6 s by default. Above about
    /// 12 s a one-minute window has too few readings for its standard deviation to mean much.
    pub readings_per_s: u32,
    /// Seconds of event time in a second of wall-clock time; 1 is real time.
    pub time_factor: u32,
    /// Length of the run in seconds of wall-clock time.
    pub duration_s: u64,
    /// Event time of the first message, ms since the Unix epoch. A full minute makes the first
    /// one-minute window a whole one.
    pub start_ts_ms: i64,
    /// Everything random follows from it.
    pub seed: u64,
    /// What breaks, where and when; several faults of one device may overlap. See
    /// [`Fault::spread`] and [`with_spread_faults`](FleetConfig::with_spread_faults).
    pub faults: Vec<Fault>,
    /// A reading leaves its device up to this many ms of event time after it was taken. Good
    /// readings are out of order by at most this much; at most 60,000.
    pub delay_max_ms: u32,
    /// Share of messages that bring a true reading far too late: `late_by_ms` and up to a minute
    /// more. None are sent in the first `late_by_ms` + 2 minutes, when nothing can be late yet.
    pub late_share: f64,
    /// Age of a late reading in ms of event time. Choose it well above the window's length plus
    /// the out-of-orderness bound, or some of them are still in time.
    pub late_by_ms: u32,
    /// Share of messages from a device whose clock runs ahead by `bad_clock_ahead_ms` or up to
    /// twice that.
    pub bad_clock_share: f64,
    /// How far a bad clock is ahead of the message's Kafka timestamp, in ms, at least. Choose it
    /// above the source's `max_future`.
    pub bad_clock_ahead_ms: u32,
    /// Share of messages whose bytes are no reading at all; see [`Malformed`](super::Malformed).
    pub malformed_share: f64,
}

impl Default for FleetConfig {
    fn default() -> Self {
        FleetConfig {
            devices: 2_000,
            readings_per_s: 20_000,
            time_factor: 60,
            duration_s: 30,
            start_ts_ms: 1_699_999_980_000,
            seed: 1,
            faults: Vec::new(),
            delay_max_ms: 5_000,
            late_share: 0.0,
            late_by_ms: 240_000,
            bad_clock_share: 0.0,
            bad_clock_ahead_ms: 3_600_000,
            malformed_share: 0.0,
        }
    }
}

/// Why a fleet cannot be simulated as configured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetConfigError {
    /// No device, or more than names can tell apart.
    #[error("`devices` is {found}, expected 1 to {DEVICES_MAX}")]
    Devices {
        /// The configured number.
        found: u32,
    },
    /// A rate or a factor of 0 would never send anything.
    #[error("`{field}` is 0, expected at least 1")]
    Zero {
        /// The field at fault.
        field: &'static str,
    },
    /// Readings delayed by more than a window cannot be told from late ones.
    #[error("`delay_max_ms` is {found}, expected at most {DELAY_MAX_MS}")]
    Delay {
        /// The configured delay, ms.
        found: u32,
    },
    /// A share outside 0 to 1, or shares that leave nothing for good readings.
    #[error("`{field}` is {found}, expected 0 to 1, and all shares together at most 1")]
    Share {
        /// The field at fault.
        field: &'static str,
        /// The configured share.
        found: f64,
    },
    /// A fault on a device that does not exist or that ends before it begins.
    #[error(
        "fault {index} is on device {device} from {from_ms} to {to_ms}, expected a device below {devices} and an end after the onset"
    )]
    Fault {
        /// Its place in `faults`.
        index: usize,
        /// The device named.
        device: u32,
        /// Onset, ms.
        from_ms: i64,
        /// End, ms.
        to_ms: i64,
        /// Number of devices.
        devices: u32,
    },
    /// Event time would leave the range that fits ms in a signed 64-bit number.
    #[error("a run of {duration_s} s at factor {time_factor} does not fit event time in ms")]
    TooLong {
        /// The configured length.
        duration_s: u64,
        /// The configured factor.
        time_factor: u32,
    },
}

impl FleetConfig {
    /// Adds `count` faults drawn by [`Fault::spread`] from this configuration's own seed.
    pub fn with_spread_faults(mut self, count: u32) -> Self {
        let length_ms = self.length_ms();
        let drawn = Fault::spread(count, self.devices, self.start_ts_ms, length_ms, self.seed);
        self.faults.extend(drawn);
        self
    }

    /// Length of the run in ms of event time.
    pub fn length_ms(&self) -> i64 {
        let length = self.duration_s.saturating_mul(u64::from(self.time_factor));
        i64::try_from(length.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }

    /// Number of messages in the run.
    pub fn messages(&self) -> u64 {
        self.duration_s.saturating_mul(u64::from(self.readings_per_s))
    }

    /// Event time, ms since the Unix epoch, that the run has reached after `elapsed` of wall-clock
    /// time: what to give to [`Fleet::next_before`](super::Fleet::next_before).
    pub fn event_time(&self, elapsed: Duration) -> i64 {
        let event = elapsed.as_micros() * u128::from(self.time_factor) / 1_000;
        self.start_ts_ms.saturating_add(i64::try_from(event).unwrap_or(i64::MAX))
    }

    pub(super) fn validate(&self) -> Result<(), FleetConfigError> {
        if self.devices == 0 || self.devices > DEVICES_MAX {
            return Err(FleetConfigError::Devices { found: self.devices });
        }
        for (field, value) in
            [("readings_per_s", self.readings_per_s), ("time_factor", self.time_factor)]
        {
            if value == 0 {
                return Err(FleetConfigError::Zero { field });
            }
        }
        if self.delay_max_ms > DELAY_MAX_MS {
            return Err(FleetConfigError::Delay { found: self.delay_max_ms });
        }
        let mut total = 0.0;
        for (field, found) in [
            ("late_share", self.late_share),
            ("bad_clock_share", self.bad_clock_share),
            ("malformed_share", self.malformed_share),
        ] {
            total += found;
            if !(0.0..=1.0).contains(&found) || total > 1.0 {
                return Err(FleetConfigError::Share { field, found });
            }
        }
        self.validate_faults()?;
        // Leaves room for a bad clock at the very end.
        let room = i64::MAX / 4;
        if self.length_ms() > room || self.start_ts_ms.checked_abs().is_none_or(|ts| ts > room) {
            return Err(FleetConfigError::TooLong {
                duration_s: self.duration_s,
                time_factor: self.time_factor,
            });
        }
        Ok(())
    }

    fn validate_faults(&self) -> Result<(), FleetConfigError> {
        for (index, fault) in self.faults.iter().enumerate() {
            if fault.device >= self.devices || fault.to_ms <= fault.from_ms {
                return Err(FleetConfigError::Fault {
                    index,
                    device: fault.device,
                    from_ms: fault.from_ms,
                    to_ms: fault.to_ms,
                    devices: self.devices,
                });
            }
        }
        Ok(())
    }
}
