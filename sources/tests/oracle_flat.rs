//! The fast reader of flat records against serde_json: where it answers, the answers are the same.

use proptest::prelude::*;
use serde::Deserialize;
use tideflow_core::{DeviceId, EventTime};
use tideflow_sources::flat_record;
use tideflow_sources::kafka::FlatRecord;

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Reading {
    device: DeviceId,
    ts: EventTime,
    temperature: f64,
    ok: bool,
}
flat_record!(Reading { device, ts, temperature, ok });

/// Whether the fast reader left it to serde_json.
fn agrees(bytes: &[u8]) -> Result<bool, String> {
    let slow = serde_json::from_slice::<Reading>(bytes);
    match (Reading::read(bytes), slow) {
        (None, _) => Ok(true),
        (Some(fast), Ok(slow)) if fast.temperature.to_bits() == slow.temperature.to_bits() => {
            if fast == slow {
                Ok(false)
            } else {
                Err(format!("{fast:?} {slow:?}"))
            }
        }
        (fast, slow) => Err(format!("{:?}: {fast:?} {slow:?}", String::from_utf8_lossy(bytes))),
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_map(|x| x.to_string()),
        (-1_000_000..1_000_000i64, 0..12usize).prop_map(|(n, s)| format!("{:.s$}", n as f64 / 1e3)),
        "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?",
        "[-+]?[0-9]{0,3}\\.?[0-9]{0,3}",
    ]
}

/// Which fields a record has, and in which order: most often each of them once.
fn order() -> impl Strategy<Value = Vec<usize>> {
    let some = prop::sample::subsequence(vec![0, 1, 2, 3, 4, 5], 3..=6);
    prop_oneof![4 => some.prop_shuffle(), 1 => prop::collection::vec(0..6usize, 0..9)]
}

fn record() -> impl Strategy<Value = String> {
    let space = "[ \t\n]{0,2}";
    (number(), number(), "[a-z0-9._:-]{0,70}|[ -~é\u{1}]{0,6}", space, any::<bool>(), order())
        .prop_map(|(a, b, device, s, ok, order)| {
            let fields = [
                format!("\"device\":{s}\"{device}\""),
                format!("\"ts\"{s}:{a}"),
                format!("\"temperature\":{b}"),
                format!("{s}\"ok\":{ok}"),
                "\"more\":[1]".to_string(),
                format!("\"note\":\"{device}\""),
            ];
            let fields: Vec<_> = order.into_iter().map(|field| fields[field].as_str()).collect();
            format!("{s}{{{}}}{s}", fields.join(","))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn oracle_the_fast_reader_answers_as_serde_json(record in record()) {
        agrees(record.as_bytes()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn oracle_damaged_bytes_are_read_as_serde_json_reads_them(
        at in 0..70usize, byte in any::<u8>(), cut in 0..80usize, t in -50_000..50_000i64,
    ) {
        let t = t as f64 / 100.0;
        let good = format!("{{\"device\":\"d1\",\"ts\":1700000000000,\"temperature\":{t},\"ok\":true}}");
        let mut bytes = good.into_bytes();
        prop_assert!(!agrees(&bytes).map_err(TestCaseError::fail)?, "the usual case is read fast");
        if let Some(b) = bytes.get_mut(at) { *b = byte; }
        agrees(&bytes).map_err(TestCaseError::fail)?;
        bytes.truncate(cut);
        agrees(&bytes).map_err(TestCaseError::fail)?;
    }
}
