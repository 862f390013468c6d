//! One request: read within limits, and what it asks for.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Instant;

/// Bytes of a request line with its headers.
pub(crate) const HEAD_MAX: usize = 8 * 1024;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The value of the `Authorization` header.
    pub authorization: Option<String>,
}

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is not HTTP.
    Malformed,
    /// Longer than [`HEAD_MAX`].
    TooLong,
    /// The peer is gone, or too slow.
    Gone,
}

impl Request {
    /// Reads a request's head until `deadline`.
    pub(crate) fn read(stream: &mut TcpStream, deadline: Instant) -> Result<Request, Unread> {
        let mut head = Vec::new();
        let mut chunk = [0; 1024];
        loop {
            if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                return Request::parse(&head[..end]).ok_or(Unread::Malformed);
            }
            if head.len() >= HEAD_MAX {
                return Err(Unread::TooLong);
            }
            match read_before(stream, &mut chunk, deadline) {
                Ok(0) | Err(_) => return Err(Unread::Gone),
                Ok(read) => head.extend_from_slice(&chunk[..read]),
            }
        }
    }

    fn parse(head: &[u8]) -> Option<Request> {
        let head = std::str::from_utf8(head).ok()?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target, version) = (first.next()?, first.next()?, first.next()?);
        if first.next().is_some() || !version.starts_with("HTTP/1.") || !target.starts_with('/') {
            return None;
        }
        let mut authorization = None;
        for line in lines {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("authorization") {
                authorization = Some(value.trim().to_owned());
            }
        }
        let path = target.split('?').next()?.to_owned();
        Some(Request { method: method.into(), path, authorization })
    }
}

/// One read that does not outlast the deadline, however slowly bytes come in.
pub(crate) fn read_before(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    deadline: Instant,
) -> io::Result<usize> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    stream.read(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_apart_and_what_is_not_http_is_refused() {
        let parse = |text: &str| Request::parse(text.as_bytes());
        let asked =
            parse("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nAUTHORIZATION:  Bearer t ").unwrap();
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/metrics"));
        assert_eq!(asked.authorization.as_deref(), Some("Bearer t"));
        for bad in [
            "",
            "GET",
            "GET /",
            "GET / HTTP/2",
            "GET  / HTTP/1.1",
            "GET x HTTP/1.1",
            "GET / HTTP/1.1\r\nx",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(Request::parse(b"GET /\xff HTTP/1.1"), None);
    }
}
