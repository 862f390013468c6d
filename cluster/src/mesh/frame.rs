//! Messages between processes: JSON behind its length, four bytes, the first the highest.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of a message at most: settings and a reason fit, a stranger's words cost no memory.
const BYTES_MAX: usize = 256 << 10;

pub(super) fn write(out: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message).expect("names and numbers are JSON");
    let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= BYTES_MAX);
    let length = length.ok_or_else(|| invalid("a message that is too long"))?;
    // In one piece: a lane sends it in one packet.
    let framed = [&length.to_be_bytes()[..], &text].concat();
    out.write_all(&framed)?;
    out.flush()
}

pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > BYTES_MAX {
        return Err(invalid("no message of a Tideflow process"));
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text)?;
    parse(&text)
}

/// What was read of a lane that may stop anywhere.
#[derive(Default)]
pub(super) struct Partial(Vec<u8>);

impl Partial {
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next message, if all of it is there.
    pub fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(length) = self.0.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > BYTES_MAX {
            return Err(invalid("no message of a Tideflow process"));
        }
        if self.0.len() < 4 + length {
            return Ok(None);
        }
        let message = parse(&self.0[4..4 + length])?;
        self.0.drain(..4 + length);
        Ok(Some(message))
    }
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> io::Result<T> {
    serde_json::from_slice(text).map_err(|_| invalid("no message of a Tideflow process"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let mut bytes = Vec::new();
        let sent = ["one", "two", ""];
        sent.iter().for_each(|text| write(&mut bytes, text).expect("memory"));
        let mut whole = &bytes[..];
        for text in sent {
            assert_eq!(read::<String>(&mut whole).expect("a message"), text);
        }
        let mut partial = Partial::default();
        let mut found = Vec::new();
        for byte in &bytes {
            partial.add(&[*byte]);
            found.extend(partial.next::<String>().expect("messages"));
        }
        assert_eq!(found, sent);
    }

    #[test]
    fn what_is_no_message_is_refused_before_memory_is_taken_for_it() {
        for stranger in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\0\0\0\x02{}"] {
            let error = read::<String>(&mut &stranger[..]).expect_err("no message");
            assert_eq!(error.to_string(), "no message of a Tideflow process");
            let mut partial = Partial::default();
            partial.add(stranger);
            assert!(partial.next::<String>().is_err());
        }
    }
}
