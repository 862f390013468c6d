//! The encoded records of one epoch, in one piece of memory.

use std::iter;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tideflow_core::Rejected;
use tideflow_core::kafka::KafkaError;

use super::partitioner::partition_for;
use super::producer::{RawProducer, TopicHandle};
use super::record::Record;

/// Encoded records: keys and values one after the other in one buffer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Which headers the records have, from some record on: those before the first have none.
    headed: Vec<(usize, Headers)>,
    /// Dead letters: few, and with headers.
    letters: Vec<Letter>,
    partitions: usize,
}

/// A record without a value is a tombstone: JSON has a byte at least.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    partition: i32,
    key_end: usize,
    value_end: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Letter {
    partition: i32,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: Headers,
}

pub(super) type Header = (String, Option<Vec<u8>>);
pub(super) type Headers = Vec<Header>;

/// Bytes of a dead letter at most: a record that its own topic could just hold must not become one
/// that no broker takes, since the run would end with it. Brokers and librdkafka take 1 MB unless told
/// otherwise.
const LETTER_MAX: usize = 900_000;
/// Characters of a detail at most: it may quote the record.
const DETAIL_MAX: usize = 1_000;

/// Why a record was rejected and where it came from, if from somewhere outside.
fn reasons(r: &Rejected) -> Headers {
    let text = |name: &str, value: String| (name.to_string(), Some(value.into_bytes()));
    let mut headers = vec![
        text("error", r.reason.as_str().to_string()),
        text("detail", r.detail.chars().take(DETAIL_MAX).collect()),
        text("operator", r.operator.clone()),
    ];
    if !r.origin.topic.is_empty() {
        headers.push(text("topic", r.origin.topic.clone()));
        headers.push(text("partition", r.origin.partition.to_string()));
        headers.push(text("offset", r.origin.offset.to_string()));
    }
    headers.extend(r.origin.timestamp.map(|at| text("timestamp", at.0.to_string())));
    headers
}

fn size(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len) + 10).sum()
}

/// Bytes as a JSON text: what is not UTF-8 is replaced; null where there are none.
fn text(bytes: Option<&[u8]>) -> Vec<u8> {
    let text = bytes.map(String::from_utf8_lossy);
    serde_json::to_vec(&text).expect("a text")
}

fn line(lines: &mut Vec<u8>, key: Option<&[u8]>, value: &[u8], headers: &[Header]) {
    let headers: Vec<_> =
        headers.iter().map(|(n, v)| (n, v.as_deref().map(String::from_utf8_lossy))).collect();
    let headers = serde_json::to_vec(&headers).expect("texts");
    let parts: [&[u8]; 7] =
        [b"{\"key\":", &text(key), b",\"value\":", value, b",\"headers\":", &headers, b"}\n"];
    lines.extend(parts.concat());
}

impl Letter {
    /// Cuts what does not fit in so many bytes, and says so in a header: first the payload, and where
    /// that is not enough the record's own headers and key.
    fn fit(&mut self, room: usize) {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let whole = len(&self.payload);
        if len(&self.key) + size(&self.headers) + whole <= room {
            return;
        }
        if len(&self.key) + size(&self.headers) > room / 2 {
            (self.key, self.headers) = (None, Vec::new());
        }
        let rest = room - len(&self.key) - size(&self.headers) - 100;
        self.payload.iter_mut().for_each(|payload| payload.truncate(rest));
        self.headers.push(("cut_from".to_string(), Some(whole.to_string().into_bytes())));
    }
}

impl Arena {
    pub fn new(partitions: usize) -> Self {
        let (bytes, places) = (Vec::new(), Vec::new());
        Arena { bytes, places, headed: Vec::new(), letters: Vec::new(), partitions }
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.places.len() + self.letters.len()
    }

    /// About how many bytes they are.
    pub fn bytes(&self) -> usize {
        let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let letters = self.letters.iter().map(|l| of(&l.key) + of(&l.payload) + size(&l.headers));
        self.bytes.len() + letters.sum::<usize>()
    }

    /// The same records by partition modulo `count`, without the numbers that have none.
    pub fn split(self, count: u32) -> Vec<(u32, Arena)> {
        let mut split: Vec<Arena> = (0..count).map(|_| Arena::new(self.partitions)).collect();
        if count == 1 {
            split[0] = self;
        } else {
            let of = |partition: i32| partition as usize % count as usize;
            let mut from = 0;
            let mut headed = self.headed.iter().peekable();
            let mut headers = &Headers::new();
            for (number, Place { partition, key_end, value_end }) in
                self.places.into_iter().enumerate()
            {
                if let Some((_, next)) = headed.next_if(|(first, _)| *first == number) {
                    headers = next;
                }
                let to = &mut split[of(partition)];
                let values =
                    headers.iter().filter_map(|(n, value)| Some((&n[..], value.as_deref()?)));
                to.head(values);
                let moved = |at: usize| at - from + to.bytes.len();
                let (key_end, end) = (moved(key_end), moved(value_end));
                to.bytes.extend_from_slice(&self.bytes[from..value_end]);
                to.places.push(Place { partition, key_end, value_end: end });
                from = value_end;
            }
            self.letters.into_iter().for_each(|l| split[of(l.partition)].letters.push(l));
        }
        (0..).zip(split).filter(|(_, arena)| arena.len() > 0).collect()
    }

    /// Appends a JSON record.
    pub fn json(&mut self, key: &[u8], value: &impl Serialize) {
        self.change(key, Some(value));
    }

    /// Has the records that follow come with these headers.
    pub fn head<'a>(&mut self, headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone) {
        let last = self.headed.last().map_or(&[][..], |(_, last)| last);
        let same = |((name, value), (known, held)): ((&str, &[u8]), &Header)| {
            name == known && Some(value) == held.as_deref()
        };
        let known = headers.clone().count() == last.len() && headers.clone().zip(last).all(same);
        if !known {
            let owned = |(name, value): (&str, &[u8])| (name.to_string(), Some(value.to_vec()));
            self.headed.push((self.places.len(), headers.map(owned).collect()));
        }
    }

    /// Appends a JSON record, or a tombstone.
    pub fn change(&mut self, key: &[u8], value: Option<&impl Serialize>) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        if let Some(value) = value {
            serde_json::to_writer(&mut self.bytes, value)
                .expect("records are structs with text keys");
        }
        let partition = partition_for(key, self.partitions);
        self.places.push(Place { partition, key_end, value_end: self.bytes.len() });
    }

    /// Appends a dead letter. One without a key goes to the partition of its origin, if there is one.
    pub fn dead_letter(&mut self, r: &Rejected) {
        let partition = match &r.key {
            Some(key) => partition_for(key, self.partitions),
            None => r.origin.partition.rem_euclid(self.partitions as i32),
        };
        let (key, payload) = (r.key.clone(), r.payload.clone());
        let mut letter = Letter { partition, key, payload, headers: r.headers.clone() };
        let ours = reasons(r);
        letter.fit(LETTER_MAX - size(&ours));
        letter.headers.extend(ours);
        self.letters.push(letter);
    }

    /// The records, in order, by the headers that they have.
    pub fn runs(&self) -> impl Iterator<Item = (&[Header], impl Iterator<Item = Record<'_>>)> {
        let first = (0, &[][..]);
        let starts = iter::once(first).chain(self.headed.iter().map(|(from, h)| (*from, &h[..])));
        let ends = self.headed.iter().map(|(from, _)| *from).chain([self.places.len()]);
        let runs = starts.zip(ends).filter(|((from, _), to)| from < to);
        runs.map(|((from, headers), to)| (headers, self.records(from..to)))
    }

    fn records(&self, numbers: Range<usize>) -> impl Iterator<Item = Record<'_>> {
        let before = numbers.start.checked_sub(1);
        let mut from = before.map_or(0, |before| self.places[before].value_end);
        self.places[numbers].iter().map(move |place| {
            let key = &self.bytes[from..place.key_end];
            let value = &self.bytes[place.key_end..place.value_end];
            from = place.value_end;
            let value = Some(value).filter(|value| !value.is_empty());
            Record { partition: place.partition, key: Some(key), value }
        })
    }

    /// The dead letters, in order.
    pub fn letters(&self) -> impl Iterator<Item = (Record<'_>, &[Header])> {
        self.letters.iter().map(|letter| {
            let (key, value) = (letter.key.as_deref(), letter.payload.as_deref());
            (Record { partition: letter.partition, key, value }, &letter.headers[..])
        })
    }

    /// Appends all records as JSON, a line each: `{"key","value","headers"}`, headers as pairs of name and
    /// value. The value is the record's own JSON, or null; of a dead letter, like key and headers, a text.
    pub fn write_lines(&self, lines: &mut Vec<u8>) {
        for (headers, records) in self.runs() {
            records.for_each(|Record { key, value, .. }| {
                line(lines, key, value.unwrap_or(b"null"), headers);
            });
        }
        for (Record { key, value, .. }, headers) in self.letters() {
            line(lines, key, &text(value), headers);
        }
    }

    /// Hands all records to the producer, in order.
    pub fn produce(
        &self,
        producer: &RawProducer,
        topic: &TopicHandle,
        give_up: impl Fn() -> bool,
    ) -> Result<(), KafkaError> {
        for (headers, mut records) in self.runs() {
            match headers {
                [] => producer.produce_batch(topic, records, &give_up)?,
                _ => records.try_for_each(|record| {
                    producer.produce_with_headers(topic, record, headers, &give_up)
                })?,
            }
        }
        self.letters().try_for_each(|(record, headers)| {
            producer.produce_with_headers(topic, record, headers, &give_up)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tideflow_core::{Origin, Reason};

    use super::*;

    fn letter(key: usize, payload: usize, header: usize) -> Letter {
        let mut arena = Arena::new(3);
        arena.dead_letter(&Rejected {
            operator: "readings".to_string(),
            reason: Reason::Malformed,
            detail: "é".repeat(2_000),
            origin: Origin { topic: "t".to_string(), partition: 2, offset: 7, timestamp: None },
            key: Some(vec![1; key]),
            payload: Some(vec![2; payload]),
            headers: vec![("own".to_string(), Some(vec![3; header]))],
        });
        arena.letters.pop().expect("just made")
    }

    #[test]
    fn records_are_split_by_partition_and_keep_their_order() {
        let mut arena = Arena::new(5);
        (0..100).for_each(|n: u32| arena.json(n.to_string().as_bytes(), &n));
        arena.letters.extend([letter(1, 1, 1), letter(2, 1, 1)]);
        let form = |record: Record<'_>| (record.partition, record.key.map(<[u8]>::to_vec));
        let whole: Vec<_> = arena.records(0..100).map(form).collect();
        let split = arena.clone().split(3);
        assert_eq!(split.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [0, 1, 2]);
        for (shard, arena) in &split {
            let own = whole.iter().filter(|(partition, _)| *partition as u32 % 3 == *shard);
            let records = arena.runs().flat_map(|(_, records)| records);
            assert!(records.map(form).eq(own.cloned()), "{shard}");
            assert!(arena.letters().all(|(record, _)| record.partition as u32 % 3 == *shard));
        }
        let records = |shard: &(u32, Arena)| (shard.1.len(), shard.1.bytes());
        let sums = split.iter().map(records).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(sums, (arena.len(), arena.bytes()));
        assert_eq!(arena.split(1).len(), 1);
    }

    #[test]
    fn a_change_without_a_value_is_a_tombstone_of_its_key_on_whichever_shard() {
        let mut arena = Arena::new(4);
        arena.change(b"site", Some(&1));
        arena.change(b"site", None::<&u32>);
        arena.change(b"other", Some(&""));
        let form =
            |r: Record<'_>| (r.partition, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec));
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        let [site, other] = [b"site".as_slice(), b"other"].map(|key| partition_for(key, 4));
        let expected = [
            (site, bytes("site"), bytes("1")),
            (site, bytes("site"), None),
            (other, bytes("other"), bytes("\"\"")),
        ];
        assert_eq!(arena.records(0..3).map(form).collect::<Vec<_>>(), expected);
        let split = arena.split(4);
        let mut again: Vec<_> =
            split.iter().flat_map(|(_, a)| a.records(0..a.places.len()).map(form)).collect();
        again.sort_by_key(|(_, key, _)| *key != bytes("site"));
        assert_eq!(again, expected);
    }

    #[test]
    fn records_keep_their_headers_on_whichever_shard() {
        let mut arena = Arena::new(4);
        let versions = [None, Some("7"), Some("7"), Some("8"), None];
        for number in 0..100_usize {
            let version = versions[number * versions.len() / 100].map(str::as_bytes);
            arena.head(version.iter().map(|version| ("version", *version)));
            arena.json(number.to_string().as_bytes(), &number);
        }
        assert_eq!(arena.headed.len(), 3, "those of one version are written down once");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is text");
        let of = |arena: &Arena| {
            let mut all = Vec::new();
            for (headers, records) in arena.runs() {
                let version = headers.first().map(|(_, v)| text(v.as_ref().expect("it has one")));
                let number = |r: Record<'_>| text(r.value.expect("one")).parse().expect("a number");
                all.extend(records.map(|record| (number(record), version.clone())));
            }
            all
        };
        let whole = of(&arena);
        let expected = |n: usize| (n, versions[n * versions.len() / 100].map(String::from));
        assert_eq!(whole, (0..100).map(expected).collect::<Vec<_>>());
        let mut split: Vec<_> = arena.split(3).iter().flat_map(|(_, arena)| of(arena)).collect();
        split.sort();
        assert_eq!(split, whole);
    }

    #[test]
    fn golden_records_and_dead_letters_are_lines_of_json() {
        let mut arena = Arena::new(1);
        arena.head([("version", b"8".as_slice())].into_iter());
        arena.json(b"d1", &json!({"score": 0.1 + 0.2}));
        arena.change(b"d2", None::<&u32>);
        arena.letters.push(letter(1, 1, 1));
        let mut lines = Vec::new();
        arena.write_lines(&mut lines);
        let lines = String::from_utf8(lines).expect("JSON is text");
        let lines: Vec<_> = lines.lines().collect();
        let records = [
            r#"{"key":"d1","value":{"score":0.30000000000000004},"headers":[["version","8"]]}"#,
            r#"{"key":"d2","value":null,"headers":[["version","8"]]}"#,
        ];
        assert_eq!(lines[..2], records);
        assert!(lines[2].starts_with(
            r#"{"key":"\u0001","value":"\u0002","headers":[["own","\u0003"],["error""#
        ));
        assert_eq!(lines.len(), 3);
    }

    fn cut_from(letter: &Letter) -> Option<&[u8]> {
        let found = letter.headers.iter().find(|(name, _)| name == "cut_from");
        found.and_then(|(_, value)| value.as_deref())
    }

    #[test]
    fn a_dead_letter_is_whole_unless_no_broker_might_take_it() {
        let whole = letter(10, 890_000, 100);
        assert_eq!((whole.payload.as_ref().map(Vec::len), cut_from(&whole)), (Some(890_000), None));
        for (key, payload, header) in [
            (10, 1_048_576, 10),
            (10, 600_000, 600_000),
            (1_000_000, 10, 10),
            (400_000, 600_000, 0),
        ] {
            let cut = letter(key, payload, header);
            let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
            let total = len(&cut.key) + len(&cut.payload) + size(&cut.headers);
            assert!(total <= LETTER_MAX, "{total}");
            assert!(len(&cut.payload) == payload || total > LETTER_MAX - 200, "{total}");
            assert_eq!(cut_from(&cut), Some(payload.to_string().as_bytes()));
            assert_eq!(cut.headers.last().expect("ours").0, "offset");
        }
    }
}
