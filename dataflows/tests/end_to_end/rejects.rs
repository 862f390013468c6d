//! What cannot be used, and what comes too late: where it goes, and that the counts add up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tideflow::core::kafka::testing::TestBroker;

use crate::fleet::{MINUTE, Numbers, START, at, reading};
use crate::program::{Running, device_health, run};
use crate::python::model;
use crate::topics::{Headers, Input, Sent, Topics};

/// What is wrong with each of these bytes.
fn wrong() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let good = reading("d1", START, "21.5", "0.8", "4.2");
    let with = |from: &str, to: &str| {
        let changed = good.replace(from, to);
        assert_ne!(changed, good, "`{from}` is in a reading");
        changed
    };
    let mut not_utf8 = with("\"d1\"", "\"d?\"").into_bytes();
    not_utf8.iter_mut().filter(|b| **b == b'?').for_each(|b| *b = 0xff);
    let long = format!("\"{}\"", "x".repeat(65));
    let text: Vec<(&str, String)> = vec![
        ("malformed", good[..good.len() - 1].to_string()),
        ("malformed", good[..20].to_string()),
        ("malformed", String::new()),
        ("malformed", " \n".to_string()),
        ("malformed", "temperature 21.5".to_string()),
        ("malformed", format!("{good}{good}")),
        ("malformed", with("21.5", "0x15")),
        ("malformed", with("21.5", "021.5")),
        ("malformed", with("21.5", "21,5")),
        ("wrong_type", "[\"d1\",1700000040000,21.5,0.8,4.2]".to_string()),
        ("wrong_type", "null".to_string()),
        ("wrong_type", "\"d1\"".to_string()),
        ("wrong_type", with("21.5", "\"21.5\"")),
        ("wrong_type", with("0.8", "null")),
        ("wrong_type", with("4.2", "[4.2]")),
        ("wrong_type", with("\"d1\"", "17")),
        ("wrong_type", with(&START.to_string(), "\"now\"")),
        ("wrong_type", with(&START.to_string(), "1700000040000.5")),
        ("wrong_type", with(&START.to_string(), "17000000400000000000000")),
        ("wrong_type", with("0.8", "0.8,\"vibration\":0.9")),
        ("missing_field", "{}".to_string()),
        ("missing_field", with("\"device\"", "\"Device\"")),
        ("missing_field", with("\"ts\"", "\"time\"")),
        ("missing_field", with("\"temperature\"", "\"temp\"")),
        ("missing_field", with(",\"vibration\":0.8", "")),
        ("missing_field", with(",\"current\":4.2", "")),
        ("not_finite", with("21.5", "NaN")),
        ("not_finite", with("0.8", "-Infinity")),
        ("not_finite", with("4.2", "Infinity")),
        ("not_finite", with("21.5", "1e999")),
        ("not_finite", with("0.8", "-1e999")),
        // 2^40.
        ("not_finite", with("4.2", "1099511627776")),
        ("not_finite", with("21.5", "-1.1e12")),
        ("bad_device_id", with("\"d1\"", "\"\"")),
        ("bad_device_id", with("\"d1\"", "\"d 1\"")),
        ("bad_device_id", with("\"d1\"", "\"\u{fc}\"")),
        ("bad_device_id", with("\"d1\"", &long)),
        // Far beyond any Kafka timestamp; were it believed, every window would close.
        ("future_time", with(&START.to_string(), "4000000000000")),
        ("future_time", with(&START.to_string(), "9223372036854775807")),
    ];
    let text = text.into_iter().map(|(reason, text)| (reason, Some(text.into_bytes())));
    let bytes = [("malformed", None), ("malformed", Some(not_utf8))];
    let bytes = bytes.into_iter().chain([("malformed", Some(vec![0xff, 0, 0xfe]))]);
    text.chain(bytes).collect()
}

/// Headers of a sender's own: with bytes, without a value, and under a name that we use too.
fn headers() -> Headers {
    let header = |name: &str, value: Option<&[u8]>| (name.to_string(), value.map(<[u8]>::to_vec));
    vec![
        header("trace", Some(b"\x00\xff")),
        header("empty", Some(b"")),
        header("none", None),
        header("error", Some(b"the sender's")),
    ]
}

/// The dead letter of a record says all that the record said, and where and why.
fn assert_dead_letter(letter: &Sent, sent: &Sent, topic: &str, reason: &str) {
    assert_eq!((&letter.key, &letter.value), (&sent.key, &sent.value), "{letter:?}");
    let own = sent.headers.len();
    assert_eq!(letter.headers[..own], sent.headers, "{letter:?}");
    let ours: Vec<&str> = letter.headers[own..].iter().map(|(name, _)| name.as_str()).collect();
    let names = ["error", "detail", "operator", "topic", "partition", "offset", "timestamp"];
    let has = if sent.timestamp.is_some() { names.len() } else { names.len() - 1 };
    assert_eq!(ours, names[..has], "{letter:?}");
    let timestamp = sent.timestamp.map(|timestamp| timestamp.to_string());
    let (partition, offset) = (sent.partition.to_string(), sent.offset.to_string());
    for (name, expected) in [
        ("error", reason),
        ("operator", "readings"),
        ("topic", topic),
        ("partition", &partition),
        ("offset", &offset),
    ] {
        assert_eq!(letter.header(name), expected, "{letter:?}");
    }
    if let Some(timestamp) = timestamp {
        assert_eq!(letter.header("timestamp"), timestamp, "{letter:?}");
    }
    assert!(!letter.header("detail").is_empty(), "{letter:?}");
}

fn key_of(n: usize) -> Option<Vec<u8>> {
    match n % 3 {
        0 => None,
        1 => Some(b"d1".to_vec()),
        _ => Some(vec![0xff, n as u8]),
    }
}

#[test]
fn oracle_every_reject_is_a_dead_letter_every_late_reading_is_on_its_topic_and_the_counts_add_up() {
    let topics = Topics::new(TestBroker::shared(), 1, 3);
    let mut graph = device_health("run", &topics, &model("health"));
    let graph = Running::start(graph.arg("--run.on_stop=drain"));

    let wrong = wrong();
    topics.send([at(0, "d1", START)]);
    topics.send(wrong.iter().enumerate().map(|(n, (_, value))| Input {
        key: key_of(n),
        value: value.clone(),
        headers: headers(),
        ..Input::default()
    }));
    // At the limit of a minute after its Kafka timestamp, and a millisecond beyond.
    let (limit, beyond) = (START + MINUTE, START + MINUTE + 1);
    topics.send([
        Input { timestamp: START, ..at(0, "d2", limit) },
        Input { timestamp: START, ..at(0, "d2", beyond) },
    ]);
    // On time still, whatever the rejects said; then two that close the first minute.
    topics.send([at(0, "d1", START + 1), at(0, "d3", START + MINUTE - 1)]);
    topics.send([at(0, "d1", START + MINUTE + 10_000), at(0, "d1", START + MINUTE + 9_000)]);
    let first: Vec<_> = topics.read_some(&topics.windows, 2).iter().map(Sent::json).collect();
    let count = |device: &str| first.iter().find(|w| w["device"] == device).map(|w| &w["count"]);
    assert_eq!((first.len(), count("d1"), count("d3")), (2, Some(&2.into()), Some(&1.into())));

    let first_ever = Input { timestamp: START, ..at(0, "d9", i64::MIN) };
    topics.send([at(0, "d1", START + MINUTE - 1), first_ever, at(0, "d1", limit)]);
    let all = topics.read(&topics.readings);
    let rejects = wrong.len() + 1;
    let page = graph.wait_until("all read", |m| {
        m.sum("tideflow_readings_total", &[("source", "readings")]) == all.len() as f64
            && m.sum("tideflow_late_total", &[]) == 2.0
            && m.sum("tideflow_sink_records_total", &[("sink", "rejects out")]) == rejects as f64
    });
    let windowed = page.sum("tideflow_windowed_total", &[("operator", "windows")]);
    assert_eq!(windowed as usize + 2 + rejects, all.len());
    assert_eq!(page.sum("tideflow_rejected_total", &[]), rejects as f64);
    for reason in
        ["malformed", "wrong_type", "missing_field", "not_finite", "bad_device_id", "future_time"]
    {
        let sent = wrong.iter().filter(|(found, _)| *found == reason).count();
        let sent = sent + usize::from(reason == "future_time");
        let labels = [("operator", "readings"), ("reason", reason)];
        assert_eq!(page.sum("tideflow_rejected_total", &labels), sent as f64, "{reason}");
    }
    graph.signal("TERM");
    let ended = graph.end();
    ended.with_code(0);

    let mut letters = topics.read(&topics.rejects);
    letters.sort_by_key(|letter| letter.header("offset").parse::<i64>().expect("a number"));
    assert_eq!(letters.len(), rejects);
    let expected = wrong.iter().map(|(reason, _)| *reason).chain(["future_time"]);
    // The first record is good, and so is the one before the last reject.
    let sent = all[1..].iter().filter(|s| s.offset != rejects as i64);
    for ((letter, reason), sent) in letters.iter().zip(expected).zip(sent) {
        assert_dead_letter(letter, sent, &topics.readings, reason);
    }
    assert_late(&topics);
    let windows = topics.read(&topics.windows);
    let counted: u64 = windows.iter().map(|w| w.json()["count"].as_u64().expect("a count")).sum();
    assert_eq!((counted, windows.len()), (windowed as u64, 4), "{windows:?}");
}

#[test]
fn fault_a_bad_record_of_the_largest_size_is_a_dead_letter_that_was_cut() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    let largest = Input { value: Some(vec![b'?'; 999_900]), ..at(0, "d1", START) };
    topics.send([at(0, "d1", START), largest, at(0, "d1", START + MINUTE)]);
    let flags = ["--readings.until=end"];
    let ended = run(device_health("run", &topics, &model("health")).args(flags));
    ended.with_code(0);
    let letters = topics.read(&topics.rejects);
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].header("cut_from"), letters[0].header("offset")), ("999900", "1"));
    let kept = letters[0].value.as_deref().expect("a part of it");
    assert!(kept.len() > 890_000 && kept.iter().all(|byte| *byte == b'?'), "{}", kept.len());
    assert_eq!(topics.read(&topics.windows).len(), 2);
}

#[test]
fn fault_a_reading_without_a_kafka_timestamp_is_a_dead_letter_without_one() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    // What Kafka writes where there is none.
    let timeless = Input { timestamp: -1, ..at(0, "d2", START) };
    topics.send([at(0, "d1", START), timeless, at(0, "d1", START + 1)]);
    let sent = topics.read(&topics.readings);
    assert_eq!(sent[1].timestamp, None);

    let flags = ["--readings.until=end"];
    let ended = run(device_health("run", &topics, &model("health")).args(flags));
    ended.with_code(0);
    let letters = topics.read(&topics.rejects);
    assert_eq!(letters.len(), 1);
    assert_dead_letter(&letters[0], &sent[1], &topics.readings, "no_timestamp");
    let windows: Vec<_> = topics.read(&topics.windows).iter().map(Sent::json).collect();
    assert_eq!(windows.len(), 1, "{windows:?}");
    assert_eq!((&windows[0]["device"], &windows[0]["count"]), (&"d1".into(), &2.into()));
}

#[test]
fn fault_a_window_that_the_model_cannot_score_is_a_dead_letter_from_nowhere() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    let hot = reading("d2", START + 1, "99.5", "0.8", "4.2").into_bytes();
    let hot = Input { value: Some(hot), ..at(0, "d2", START + 1) };
    topics.send([at(0, "d1", START), hot, at(0, "d1", START + MINUTE)]);
    let flags = ["--readings.until=end"];
    let ended = run(device_health("run", &topics, &model("overflow")).args(flags));
    ended.with_code(0);

    let letters = topics.read(&topics.rejects);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    let names: Vec<&str> = letter.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["error", "detail", "operator"], "{letter:?}");
    assert_eq!(letter.key, None, "{letter:?}");
    let texts = ["error", "detail", "operator"].map(|name| letter.header(name));
    assert_eq!(texts, ["not_scored", "the model's `score` is inf", "health"]);
    let window = letter.json();
    let of = ["start", "end"].map(|name| window[name].as_i64());
    assert_eq!((&window["key"], of), (&"d2".into(), [Some(START), Some(START + MINUTE)]));

    // Its statistics are there, and the scores of the others.
    let devices = |topic: &str| -> Vec<_> {
        let mut devices: Vec<_> =
            topics.read(topic).iter().map(|sent| sent.json()["device"].to_string()).collect();
        devices.sort();
        devices
    };
    assert_eq!(devices(&topics.windows), ["\"d1\"", "\"d1\"", "\"d2\""]);
    assert_eq!(devices(&topics.scores), ["\"d1\"", "\"d1\""]);
}

#[test]
fn dead_letters_are_listed_and_sent_back_to_where_they_came_from_each_once() {
    let topics = Topics::new(TestBroker::shared(), 2, 2);
    let letter = |n: i64| Input {
        key: Some(b"d1".to_vec()),
        value: Some(format!("broken {n}").into_bytes()),
        headers: headers(),
        ..at((n % 2) as i32, "d1", START)
    };
    let largest = Input { value: Some(vec![b'?'; 999_900]), ..at(0, "d1", START) };
    topics.send([at(0, "d1", START)]);
    topics.send((0..600).map(letter));
    topics.send([largest, at(1, "d1", START)]);
    let before = topics.read(&topics.readings);
    let flags = ["--readings.until=end"];
    let ended = run(device_health("run", &topics, &model("health")).args(flags));
    ended.with_code(0);

    let rejects = |args: &[&str]| {
        let ended = run(device_health("rejects", &topics, &model("health")).args(args));
        ended.with_code(0);
        ended.out
    };
    let listed = rejects(&["ls"]);
    assert_eq!(listed.lines().count(), 601);
    let first: serde_json::Value =
        listed.lines().next().map(|l| serde_json::from_str(l).expect("JSON")).expect("601");
    assert_eq!(
        (&first["error"], &first["topic"]),
        (&"malformed".into(), &topics.readings.as_str().into())
    );
    assert_eq!(rejects(&["ls", "--error", "future_time"]), "");

    let told = "600 dead letters sent back, 1 left: cut, or without an origin\n";
    assert_eq!(rejects(&["replay"]), told);
    assert_eq!(rejects(&["ls"]), "");
    assert_eq!(rejects(&["ls", "--all"]).lines().count(), 601);
    let none = "0 dead letters sent back, 0 left: cut, or without an origin\n";
    assert_eq!(rejects(&["replay"]), none);
    let form = |sent: &Sent| {
        let Sent { partition, timestamp, key, value, headers, .. } = sent.clone();
        (partition, timestamp, key, value, headers)
    };
    let after = topics.read(&topics.readings);
    let broken = |sent: &&Sent| sent.value.as_deref().is_some_and(|v| v.starts_with(b"broken"));
    let mut again: Vec<_> = after.iter().filter(broken).map(form).collect();
    again.sort_unstable();
    let mut twice: Vec<_> = before.iter().filter(broken).flat_map(|s| [form(s), form(s)]).collect();
    twice.sort_unstable();
    assert_eq!((again.len(), again == twice), (1_200, true));
    assert_eq!(rejects(&["replay", "--all"]), told);
}

#[test]
fn crash_dead_letters_sent_back_by_a_program_that_is_killed_again_and_again_are_sent_once() {
    let (topics, letters) = (Topics::new(TestBroker::shared(), 2, 2), 20_000);
    let broken = |n: i64| Input {
        value: Some(format!("broken {n}").into_bytes()),
        ..at((n % 2) as i32, "d1", START)
    };
    topics.send((0..letters).map(broken));
    let mut graph = device_health("run", &topics, &model("health"));
    run(graph.arg("--readings.until=end")).with_code(0);

    let (mut numbers, mut kills) = (Numbers(31), 0);
    let last = loop {
        let mut command = device_health("rejects", &topics, &model("health"));
        let (replay, since) = (Running::start(command.arg("replay")), Instant::now());
        let life = Duration::from_millis(200 * kills + numbers.below(400));
        while since.elapsed() < life && !replay.has_ended() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if replay.has_ended() {
            break replay.end();
        }
        replay.signal("KILL");
        replay.end();
        kills += 1;
    };
    last.with_code(0);
    println!("after {kills} kills: {}", last.out);
    assert!(kills > 1 && !last.out.starts_with(&letters.to_string()), "{kills}: {}", last.out);
    let mut found = BTreeMap::<_, usize>::new();
    for sent in topics.read(&topics.readings) {
        *found.entry(sent.value).or_default() += 1;
    }
    let twice = found.values().filter(|times| **times == 2).count();
    assert_eq!((found.len(), twice), (letters as usize, letters as usize));
}

/// The two late readings, as JSON with the window that they missed.
fn assert_late(topics: &Topics) {
    let late = topics.read(&topics.late);
    let values: Vec<_> = late.iter().map(Sent::json).collect();
    let record = |device: &str, ts: i64, start: i64| {
        serde_json::json!({
            "device": device, "ts": ts, "temperature": 21.5, "vibration": 0.8, "current": 4.2,
            "window_start": start, "window_end": start + MINUTE, "watermark": START + MINUTE,
        })
    };
    let expected = [record("d1", START + MINUTE - 1, START), record("d9", i64::MIN, i64::MIN)];
    assert_eq!(values.len(), 2, "{values:?}");
    assert!(expected.iter().all(|record| values.contains(record)), "{values:?}");
    for sent in &late {
        assert_eq!(sent.key.as_deref(), sent.json()["device"].as_str().map(str::as_bytes));
    }
}
