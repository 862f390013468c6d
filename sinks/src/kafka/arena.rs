//! The encoded records of one epoch, in one piece of memory.

use serde::Serialize;
use tideflow_core::Rejected;
use tideflow_core::kafka::KafkaError;

use super::partitioner::partition_for;
use super::producer::{RawProducer, Record, TopicHandle};

/// Encoded records: keys and values one after the other in one buffer.
pub(super) struct Arena {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Dead letters: few, and with headers.
    letters: Vec<Letter>,
    partitions: usize,
}

struct Place {
    partition: i32,
    key_end: usize,
    value_end: usize,
}

struct Letter {
    partition: i32,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Arena {
    pub fn new(partitions: usize) -> Self {
        Arena { bytes: Vec::new(), places: Vec::new(), letters: Vec::new(), partitions }
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.places.len() + self.letters.len()
    }

    /// Appends a JSON record.
    pub fn json(&mut self, key: &[u8], value: &impl Serialize) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        serde_json::to_writer(&mut self.bytes, value).expect("records are structs with text keys");
        let partition = partition_for(key, self.partitions);
        self.places.push(Place { partition, key_end, value_end: self.bytes.len() });
    }

    /// Appends a dead letter. One without a key goes to the partition of its origin, if there is one.
    pub fn dead_letter(&mut self, r: &Rejected) {
        let partition = match &r.key {
            Some(key) => partition_for(key, self.partitions),
            None => r.origin.partition.rem_euclid(self.partitions as i32),
        };
        let text = |name: &str, value: String| (name.to_string(), Some(value.into_bytes()));
        let mut headers = r.headers.clone();
        headers.push(text("error", r.reason.as_str().to_string()));
        headers.push(text("detail", r.detail.clone()));
        headers.push(text("operator", r.operator.clone()));
        headers.push(text("topic", r.origin.topic.clone()));
        headers.push(text("partition", r.origin.partition.to_string()));
        headers.push(text("offset", r.origin.offset.to_string()));
        if let Some(at) = r.origin.timestamp {
            headers.push(text("timestamp", at.0.to_string()));
        }
        let (key, payload) = (r.key.clone(), r.payload.clone());
        self.letters.push(Letter { partition, key, payload, headers });
    }

    /// Hands all records to the producer, in order.
    pub fn produce(
        &self,
        producer: &RawProducer,
        topic: &TopicHandle,
        give_up: impl Fn() -> bool,
    ) -> Result<(), KafkaError> {
        let mut from = 0;
        let records = self.places.iter().map(|place| {
            let key = &self.bytes[from..place.key_end];
            let value = &self.bytes[place.key_end..place.value_end];
            from = place.value_end;
            Record { partition: place.partition, key: Some(key), value: Some(value) }
        });
        producer.produce_batch(topic, records, &give_up)?;
        for letter in &self.letters {
            let record = Record {
                partition: letter.partition,
                key: letter.key.as_deref(),
                value: letter.payload.as_deref(),
            };
            producer.produce_with_headers(topic, record, &letter.headers, &give_up)?;
        }
        Ok(())
    }
}
