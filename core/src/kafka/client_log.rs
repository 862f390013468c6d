//! What librdkafka says: its lines go to `tracing`, its errors are kept for whoever asks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};

/// A line that differs only in numbers is logged once in this time.
const REPEAT: Duration = Duration::from_secs(10);
/// Different lines remembered; more than librdkafka has, so the limit only guards memory.
const LINES_MAX: usize = 256;

/// All clients of a process share it: ten consumers that lose one broker say so once.
static LINES: Mutex<RepeatedLines> = Mutex::new(RepeatedLines { seen: BTreeMap::new() });

/// The rdkafka context of every client of ours.
///
/// librdkafka reconnects and retries by itself, so what it calls an error is a warning here; what
/// stops a client comes out of the client's own calls.
pub struct ClientLog {
    client: String,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    last: Option<String>,
    refused: Option<String>,
}

/// In what OpenSSL says of a certificate that it does not trust.
pub(super) const UNTRUSTED: &str = "certificate verify failed";

impl Heard {
    fn say(&mut self, reason: &str) {
        // A certificate that is not trusted stays so, however the next connection ends.
        let is_final = self.last.as_deref().is_some_and(|last| last.contains(UNTRUSTED));
        if !is_final || reason.contains(UNTRUSTED) {
            self.last = Some(reason.to_owned());
        }
    }
}

impl ClientLog {
    /// A context whose lines carry this client's name.
    pub fn new(client: impl Into<String>) -> Self {
        ClientLog { client: client.into(), heard: Mutex::default() }
    }

    /// Forgets what went wrong so far.
    pub fn forget(&self) {
        *lock(&self.heard) = Heard::default();
    }

    /// The last thing that went wrong, in librdkafka's words.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.heard).last.clone()
    }

    /// Why a broker refused our login, where one did.
    pub fn refused_login(&self) -> Option<String> {
        lock(&self.heard).refused.clone()
    }

    /// Takes note of an error that librdkafka reported for the client as a whole.
    pub fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut heard = lock(&self.heard);
        // "All brokers are down" follows the reason why each of them is.
        if code != RDKafkaErrorCode::AllBrokersDown || heard.last.is_none() {
            heard.say(reason);
        }
        // A connection lost while logging in comes with the same code, and a reason on our side.
        let login = [RDKafkaErrorCode::Authentication, RDKafkaErrorCode::SaslAuthenticationFailed];
        if login.contains(&code) && !reason.contains("Local: ") {
            heard.refused = Some(reason.to_owned());
        }
        // The same is logged as a line with the same text.
        tracing::debug!(target: "librdkafka", client = %self.client, "{code:?}: {reason}");
    }
}

impl ClientContext for ClientLog {
    fn log(&self, level: RDKafkaLogLevel, topic: &str, line: &str) {
        use RDKafkaLogLevel::{Debug, Info, Notice};
        // A broker that hangs up is no error to librdkafka, but often the only reason there is:
        // "[thrd:…]: host:port/1: Disconnected: … incorrect security.protocol …".
        if topic == "FAIL" {
            let reason = line.split_once("]: ").map_or(line, |(_, reason)| reason);
            lock(&self.heard).say(reason);
        }
        let client = self.client.as_str();
        // Asked for knowingly: see `Role::Journal`.
        let known = topic == "CONFWARN" && line.contains("enable.gapless.guarantee");
        if known || matches!(level, Debug) {
            tracing::debug!(target: "librdkafka", client, "{topic} {line}");
            return;
        }
        let Some(left_out) = lock(&LINES).admit(topic, line, Instant::now()) else { return };
        let more = match left_out {
            0 => String::new(),
            n => format!(" (and {n} more such lines)"),
        };
        match level {
            Notice | Info => {
                tracing::info!(target: "librdkafka", client, "{topic} {line}{more}");
            }
            _ => tracing::warn!(target: "librdkafka", client, "{topic} {line}{more}"),
        }
    }

    fn error(&self, error: RdError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(code) => self.note(code, reason),
            None => self.note(RDKafkaErrorCode::Fail, reason),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let statistics = String::from_utf8_lossy(statistics);
        tracing::debug!(target: "librdkafka", client = %self.client, %statistics);
    }
}

impl ConsumerContext for ClientLog {}

/// A poisoned lock only means that a thread died while it kept a line of text.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct RepeatedLines {
    seen: BTreeMap<String, (Instant, u32)>,
}

impl RepeatedLines {
    /// How many lines of this shape were left out since the last one; `None`: leave out this too.
    fn admit(&mut self, topic: &str, line: &str, now: Instant) -> Option<u32> {
        let shape: String =
            topic.chars().chain(line.chars()).filter(|c| !c.is_ascii_digit()).collect();
        if self.seen.len() >= LINES_MAX && !self.seen.contains_key(&shape) {
            self.seen.clear();
        }
        let Some((since, left_out)) = self.seen.get_mut(&shape) else {
            self.seen.insert(shape, (now, 0));
            return Some(0);
        };
        if now.duration_since(*since) < REPEAT {
            *left_out += 1;
            return None;
        }
        *since = now;
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_differs_only_in_numbers_is_logged_once_in_ten_seconds() {
        let mut lines = RepeatedLines { seen: BTreeMap::new() };
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(lines.admit("FAIL", "connect to h:9092 failed after 3ms", at(0)), Some(0));
        assert_eq!(lines.admit("FAIL", "connect to h:9092 failed after 41ms", at(1)), None);
        assert_eq!(lines.admit("FAIL", "connect to i:9092 failed after 41ms", at(1)), Some(0));
        assert_eq!(lines.admit("FAIL", "connect to h:9093 failed after 0ms", at(9)), None);
        assert_eq!(lines.admit("FAIL", "connect to h:9092 failed after 7ms", at(10)), Some(2));
        assert_eq!(lines.admit("FAIL", "connect to h:9092 failed after 7ms", at(21)), Some(0));
    }

    #[test]
    fn remembered_lines_are_bounded() {
        let mut lines = RepeatedLines { seen: BTreeMap::new() };
        for i in 0..10_000_u32 {
            let name: String = i.to_string().chars().map(|c| (c as u8 + 49) as char).collect();
            lines.admit("FAIL", &name, Instant::now());
        }
        assert!(lines.seen.len() <= LINES_MAX);
    }

    #[test]
    fn the_last_reason_is_kept_and_not_covered_by_what_follows_from_it() {
        let log = ClientLog::new("test");
        log.error(RdError::Global(RDKafkaErrorCode::AllBrokersDown), "0/1 brokers are down");
        assert_eq!(log.last_error().as_deref(), Some("0/1 brokers are down"));
        log.log(RDKafkaLogLevel::Info, "FAIL", "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected");
        log.error(RdError::Global(RDKafkaErrorCode::AllBrokersDown), "0/1 brokers are down");
        assert_eq!(log.last_error().as_deref(), Some("h:1/bootstrap: Disconnected"));
        let untrusted = "SSL handshake failed: … certificate verify failed";
        log.error(RdError::Global(RDKafkaErrorCode::SSL), untrusted);
        log.log(RDKafkaLogLevel::Info, "FAIL", "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected");
        assert_eq!(log.last_error().as_deref(), Some(untrusted));
    }

    #[test]
    fn a_refused_login_is_told_from_a_lost_connection() {
        let log = ClientLog::new("test");
        log.error(RdError::Global(RDKafkaErrorCode::BrokerTransportFailure), "disconnected");
        assert_eq!(log.last_error().as_deref(), Some("disconnected"));
        assert_eq!(log.refused_login(), None);
        let lost = "SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport failure: \
                    broker's supported mechanisms: (n/a)";
        log.error(RdError::Global(RDKafkaErrorCode::Authentication), lost);
        assert_eq!((log.last_error().as_deref(), log.refused_login()), (Some(lost), None));
        log.error(RdError::Global(RDKafkaErrorCode::Authentication), "wrong password");
        assert_eq!(log.refused_login().as_deref(), Some("wrong password"));
    }
}
