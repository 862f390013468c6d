//! Where the pages may listen.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::framework::HttpConfig;

/// Pages that cannot be served. `http.bind` or `http.token` has to change, whichever it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No address.
    #[error("found `{found}`, expected `host:port` or nothing")]
    Address {
        /// What was configured.
        found: String,
    },
    /// An address that others reach, and no token.
    #[error(
        "`{address}` is reachable by other machines, expected a loopback address or an \
             `http.token`"
    )]
    Public {
        /// The address.
        address: SocketAddr,
    },
    /// The port is taken.
    #[error("port {} of `{}` is in use by another program", .address.port(), .address.ip())]
    Busy {
        /// The address.
        address: SocketAddr,
    },
    /// The operating system refuses it for another reason.
    #[error("listening on `{address}`: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's words.
        source: io::Error,
    },
}

/// The address to listen on, or nothing when the pages are off.
///
/// # Errors
/// When it is none, or others could reach it without a token.
pub fn address(config: &HttpConfig) -> Result<Option<SocketAddr>, HttpError> {
    if config.bind.is_empty() {
        return Ok(None);
    }
    let found = || HttpError::Address { found: config.bind.clone() };
    let addresses: Vec<_> = config.bind.to_socket_addrs().map_err(|_| found())?.collect();
    let open = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    match addresses.iter().find(open) {
        Some(address) if config.token.is_empty() => Err(HttpError::Public { address: *address }),
        _ => addresses.first().copied().map(Some).ok_or_else(found),
    }
}

#[cfg(test)]
mod tests {
    use tideflow_core::Secret;

    use super::*;

    fn of(bind: &str, token: &str) -> Result<String, String> {
        let config = HttpConfig { bind: bind.into(), token: Secret::new(token) };
        let found = address(&config).map_err(|e| e.to_string())?;
        Ok(found.map(|a| a.to_string()).unwrap_or_default())
    }

    #[test]
    fn loopback_is_open_anything_else_needs_a_token() {
        assert_eq!(of("", ""), Ok("".into()));
        assert_eq!(of("127.0.0.1:9464", ""), Ok("127.0.0.1:9464".into()));
        assert_eq!(of("[::1]:0", ""), Ok("[::1]:0".into()));
        assert_eq!(of("[::ffff:127.0.0.1]:1", ""), Ok("[::ffff:127.0.0.1]:1".into()));
        for open in ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464"] {
            let expected = format!(
                "`{open}` is reachable by other machines, expected a loopback address or an \
                 `http.token`"
            );
            assert_eq!(of(open, ""), Err(expected));
            assert_eq!(of(open, "t"), Ok(open.into()));
        }
        for bad in ["9464", "127.0.0.1", "127.0.0.1:99999", ":1:2"] {
            assert_eq!(
                of(bad, "t"),
                Err(format!("found `{bad}`, expected `host:port` or nothing"))
            );
        }
    }
}
