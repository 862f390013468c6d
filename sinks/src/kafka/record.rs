//! A record, and the forms in which librdkafka takes it.

use std::ffi::c_void;
use std::ptr;

use rdkafka::bindings as native;

/// A record to produce.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The partition it goes to.
    pub partition: i32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
}

fn parts(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |b| (b.as_ptr().cast_mut().cast(), b.len()))
}

pub(super) fn message(record: &Record<'_>) -> native::rd_kafka_message_t {
    let ((key, key_len), (payload, len)) = (parts(record.key), parts(record.value));
    native::rd_kafka_message_t {
        err: native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: record.partition,
        payload,
        len,
        key,
        key_len,
        offset: 0,
        _private: ptr::null_mut(),
    }
}

/// The record as a list of arguments, which unlike a message has a place for the time.
pub(super) fn arguments(
    topic: *mut native::rd_kafka_topic_t,
    record: &Record<'_>,
    timestamp_ms: i64,
) -> [native::rd_kafka_vu_t; 6] {
    use native::rd_kafka_vtype_t::{
        RD_KAFKA_VTYPE_KEY, RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_VTYPE_PARTITION, RD_KAFKA_VTYPE_RKT,
        RD_KAFKA_VTYPE_TIMESTAMP, RD_KAFKA_VTYPE_VALUE,
    };
    use native::{rd_kafka_vu_s__bindgen_ty_1 as Value, rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1};
    let mem = |bytes| {
        let (ptr, size) = parts(bytes);
        Value { mem: rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size } }
    };
    [
        (RD_KAFKA_VTYPE_RKT, Value { rkt: topic }),
        (RD_KAFKA_VTYPE_PARTITION, Value { i32_: record.partition }),
        (RD_KAFKA_VTYPE_MSGFLAGS, Value { i: native::RD_KAFKA_MSG_F_COPY }),
        (RD_KAFKA_VTYPE_KEY, mem(record.key)),
        (RD_KAFKA_VTYPE_VALUE, mem(record.value)),
        (RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_: timestamp_ms }),
    ]
    .map(|(vtype, u)| native::rd_kafka_vu_t { vtype, u })
}
