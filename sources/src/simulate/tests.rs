//! Families: `oracle_` recomputes the truth from the bytes, `golden_` pins the bytes of a seed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;
use tideflow_core::DeviceId;

use super::payload::{Values, write_reading};
use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    device: String,
    ts: i64,
    temperature: f64,
    vibration: f64,
    current: f64,
}

fn parse(payload: &[u8]) -> Option<Reading> {
    serde_json::from_slice(payload).ok()
}

fn any_config() -> impl Strategy<Value = FleetConfig> {
    let size = (1_u32..300, 1_u32..3_000, 1_u32..200, 1_u64..6);
    let input = (any::<u64>(), 0_u32..20, 0_u32..=60_000, 0.0..0.2, 0.0..0.2, 0.0..0.2);
    (size, input).prop_map(|(size, input)| {
        let (devices, readings_per_s, time_factor, duration_s) = size;
        let (seed, faults, delay_max_ms, late_share, bad_clock_share, malformed_share) = input;
        FleetConfig {
            devices,
            readings_per_s,
            time_factor,
            duration_s,
            seed,
            delay_max_ms,
            late_share,
            bad_clock_share,
            malformed_share,
            ..Default::default()
        }
        .with_spread_faults(faults)
    })
}

fn fleet(config: FleetConfig) -> Fleet {
    Fleet::new(config).expect("the configuration is sound")
}

/// A demo of 30 event minutes with everything in it, and a tenth of the devices.
fn small_demo() -> FleetConfig {
    FleetConfig {
        devices: 200,
        readings_per_s: 2_000,
        late_share: 0.002,
        bad_clock_share: 0.001,
        malformed_share: 0.002,
        ..Default::default()
    }
    .with_spread_faults(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..Default::default() })]

    #[test]
    fn the_same_seed_gives_the_same_bytes(config in any_config()) {
        let (mut one, mut two) = (fleet(config.clone()), fleet(config));
        loop {
            let (left, right) = (one.next_message(), two.next_message());
            prop_assert_eq!(left, right);
            if left.is_none() {
                break;
            }
        }
        prop_assert_eq!(one.truth(), two.truth());
    }

    #[test]
    fn oracle_counts_and_bytes_agree(config in any_config()) {
        let messages = config.messages();
        let mut fleet = fleet(config);
        let mut counts = Counts::default();
        while let Some(message) = fleet.next_message() {
            counts.add(message.kind);
            let parsed = parse(message.payload);
            if message.kind == Kind::Good {
                prop_assert!(DeviceId::is_valid(message.key.as_bytes()));
                let reading = parsed.expect("a good reading parses");
                prop_assert_eq!(&reading.device, message.key);
                prop_assert_eq!(reading.ts, message.ts_ms);
            }
        }
        let truth = fleet.truth();
        prop_assert_eq!(&truth.counts, &counts);
        prop_assert_eq!(counts.total(), messages);
    }

    #[test]
    fn good_readings_stay_within_the_bound_by_key_and_by_partition(
        config in any_config(),
        partitions in 1_u32..7,
    ) {
        let bound_ms = i64::from(config.delay_max_ms);
        let mut fleet = fleet(config);
        let mut newest: HashMap<(&str, u32), i64> = HashMap::new();
        let mut sent_ms = i64::MIN;
        while let Some(message) = fleet.next_message() {
            prop_assert!(message.timestamp_ms >= sent_ms, "sending order is time order");
            sent_ms = message.timestamp_ms;
            if message.kind != Kind::Good {
                continue;
            }
            prop_assert!(message.ts_ms <= message.timestamp_ms, "no reading before it was taken");
            // Any rule that keeps a device in one partition does for the producer's.
            let partition = message.device % partitions;
            for group in [("partition", partition), ("key", message.device)] {
                let seen = newest.entry(group).or_insert(message.ts_ms);
                prop_assert!(*seen - message.ts_ms <= bound_ms);
                *seen = (*seen).max(message.ts_ms);
            }
        }
    }
}

#[test]
fn golden_a_seed_means_the_same_bytes_in_every_release() {
    let mut fleet = fleet(small_demo());
    // FNV-1a over everything a broker would get.
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    };
    while let Some(message) = fleet.next_message() {
        mix(message.key.as_bytes());
        mix(message.payload);
        mix(&message.timestamp_ms.to_be_bytes());
    }
    assert_eq!(format!("{hash:016x}"), "cb9af09559883360");
}

#[test]
fn another_seed_gives_other_bytes() {
    let first = |seed| {
        let mut fleet = fleet(FleetConfig { seed, ..Default::default() });
        fleet.next_message().map(|message| message.payload.to_vec())
    };
    assert_ne!(first(1), first(2));
}

#[test]
fn golden_a_reading_is_written_as_documented() {
    let mut out = Vec::new();
    let mut write = |temperature, vibration, current| {
        let values = Values { temperature, vibration, current };
        write_reading(&mut out, b"d000123", 1_700_000_000_000, &values);
        String::from_utf8(out.clone()).expect("readings are text")
    };
    let written = write(21.37, 0.81, 4.2);
    let expected = r#"{"device":"d000123","ts":1700000000000,"temperature":21.37,"vibration":0.81,"current":4.2}"#;
    assert_eq!(written, expected);
    let rounded = write(-3.456, 0.0004, 7.0);
    assert!(rounded.ends_with(r#""temperature":-3.46,"vibration":0.0,"current":7.0}"#));
}

#[test]
fn every_malformed_message_is_refused_and_every_way_occurs() {
    let mut fleet = fleet(FleetConfig { malformed_share: 0.5, ..Default::default() });
    for _ in 0..20_000 {
        let message = fleet.next_message().expect("the run is longer");
        let Kind::Malformed(how) = message.kind else { continue };
        let refused = match parse(message.payload) {
            None => true,
            Some(reading) => !DeviceId::is_valid(reading.device.as_bytes()),
        };
        assert!(refused, "{how:?}: {}", String::from_utf8_lossy(message.payload));
        assert_eq!(how == Malformed::Empty, message.payload.is_empty());
        assert_eq!(
            how == Malformed::NotUtf8,
            std::str::from_utf8(message.payload).is_err(),
            "only `NotUtf8` is not UTF-8"
        );
        assert_eq!(message.key.len(), 7);
    }
    assert!(fleet.truth().counts.malformed.iter().all(|&count| count > 1_000));
}

#[test]
fn late_readings_and_bad_clocks_are_far_off() {
    let mut fleet = fleet(small_demo());
    let start_ms = fleet.config().start_ts_ms;
    while let Some(message) = fleet.next_message() {
        let age_ms = message.timestamp_ms - message.ts_ms;
        match message.kind {
            Kind::Late => {
                assert!((240_000..300_000).contains(&age_ms));
                assert!(message.ts_ms >= start_ms + 60_000);
            }
            Kind::BadClock => assert!((-7_200_000..=-3_600_000).contains(&age_ms)),
            Kind::Good => assert!((0..=5_000).contains(&age_ms)),
            Kind::Malformed(_) => {}
        }
    }
    let counts = &fleet.truth().counts;
    assert!(counts.late > 50 && counts.bad_clock > 30 && counts.rejected() > 90);
}

#[test]
fn a_device_reports_about_ten_times_a_minute() {
    let mut fleet = fleet(FleetConfig::default());
    let mut readings: HashMap<(u32, i64), u32> = HashMap::new();
    while let Some(message) = fleet.next_message() {
        *readings.entry((message.device, message.ts_ms.div_euclid(60_000))).or_default() += 1;
    }
    assert_eq!(readings.len(), 2_000 * 30);
    assert!(readings.values().all(|count| (7..=13).contains(count)));
}

#[test]
fn faults_are_spread_over_a_run_of_thirty_minutes() {
    let config = FleetConfig::default().with_spread_faults(24);
    let minute = |ms: i64| (ms - config.start_ts_ms) as f64 / 60_000.0;
    let devices: HashSet<u32> = config.faults.iter().map(|fault| fault.device).collect();
    assert_eq!(devices.len(), 24);
    for fault in &config.faults {
        assert!((4.0..20.0).contains(&minute(fault.from_ms)), "{fault:?}");
        assert!((6.0..10.0).contains(&(minute(fault.to_ms) - minute(fault.from_ms))));
    }
    for name in ["drift", "spikes", "stuck"] {
        assert_eq!(config.faults.iter().filter(|fault| fault.kind.name() == name).count(), 8);
    }
    let short = FleetConfig { duration_s: 1, devices: 3, ..Default::default() };
    assert_eq!(short.with_spread_faults(5).faults.len(), 3, "one a device");
}

#[test]
fn faults_show_in_the_readings_of_their_device_only() {
    let mut fleet = fleet(small_demo());
    let mut temperatures: HashMap<u32, (f64, f64)> = HashMap::new();
    let mut spikes: HashMap<u32, u32> = HashMap::new();
    let mut shown: HashMap<(u32, &str), HashSet<String>> = HashMap::new();
    let active = |faults: &[Fault], device: u32, ts_ms: i64, name: &str| {
        faults.iter().any(|fault| {
            fault.device == device && fault.kind.name() == name && fault.is_active(ts_ms)
        })
    };
    let faults = fleet.truth().faults.clone();
    while let Some(message) = fleet.next_message() {
        let Some(reading) = parse(message.payload).filter(|_| message.kind == Kind::Good) else {
            continue;
        };
        let key = message.device;
        if active(&faults, key, message.ts_ms, "drift") {
            let range = temperatures.entry(key).or_insert((f64::MAX, f64::MIN));
            *range = (range.0.min(reading.temperature), range.1.max(reading.temperature));
        } else if active(&faults, key, message.ts_ms, "spikes") {
            *spikes.entry(key).or_default() += u32::from(reading.vibration > 1.4);
        } else if active(&faults, key, message.ts_ms, "stuck") {
            for (field, value) in [
                ("temperature", reading.temperature),
                ("vibration", reading.vibration),
                ("current", reading.current),
            ] {
                shown.entry((key, field)).or_default().insert(value.to_string());
            }
        } else {
            assert!((15.0..30.0).contains(&reading.temperature), "{}", reading.temperature);
            assert!(reading.vibration < 1.4 && reading.current < 6.0);
        }
    }
    assert_eq!(temperatures.len(), 8);
    assert!(temperatures.values().all(|(low, high)| high - low > 3.5));
    assert_eq!(spikes.len(), 8);
    assert!(spikes.values().all(|&count| count >= 10));
    assert_eq!(shown.len(), 24);
    assert_eq!(shown.values().filter(|values| values.len() == 1).count(), 8);
}

#[test]
fn steps_of_simulated_time_yield_what_is_due() {
    let mut fleet = fleet(FleetConfig { duration_s: 2, ..Default::default() });
    let mut stepped = Vec::new();
    for step in 1..=4_u64 {
        let until_ms = fleet.config().event_time(Duration::from_millis(step * 500));
        let mut sent = 0;
        while let Some(message) = fleet.next_before(until_ms) {
            assert!(message.timestamp_ms < until_ms);
            sent += 1;
        }
        stepped.push(sent);
    }
    assert_eq!(stepped, [10_000; 4]);
    assert_eq!(fleet.next_timestamp(), None);
}

#[test]
fn a_configuration_that_cannot_be_simulated_names_its_field() {
    let refused = |change: fn(&mut FleetConfig)| {
        let mut config = FleetConfig::default();
        change(&mut config);
        Fleet::new(config).expect_err("refused").to_string()
    };
    assert_eq!(refused(|c| c.devices = 0), "`devices` is 0, expected 1 to 1000000");
    assert_eq!(refused(|c| c.time_factor = 0), "`time_factor` is 0, expected at least 1");
    assert!(refused(|c| c.late_share = -0.1).starts_with("`late_share` is -0.1, expected"));
    assert!(refused(|c| c.malformed_share = f64::NAN).starts_with("`malformed_share` is NaN"));
    assert!(refused(|c| c.delay_max_ms = 90_000).contains("expected at most 60000"));
    assert!(refused(|c| c.duration_s = u64::MAX).contains("does not fit event time"));
    let fault = refused(|c| {
        let kind = FaultKind::Drift;
        c.faults = vec![Fault { device: 2_000, kind, from_ms: 0, to_ms: 1 }];
    });
    assert!(fault.starts_with("fault 0 is on device 2000"));
}
