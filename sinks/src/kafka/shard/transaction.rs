//! The acts of a transaction, and what the answers of librdkafka mean.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError as RdError, RDKafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;
use tideflow_core::crash_point;
use tideflow_core::kafka::KafkaError;

use super::error::ShardError;
use super::owner::Shard;

/// How long librdkafka is waited for before we look at what else has happened. An answer ends the
/// wait at once; a call that was not answered is resumed by the next one.
const SLICE: Duration = Duration::from_millis(50);
/// How long an abort may take, after which it is left to the next owner or the brokers.
const ABORT: Duration = Duration::from_secs(2);

impl Shard {
    /// Takes the transactional id over.
    pub(super) fn init(
        &self,
        patience: Duration,
        give_up: impl Fn() -> bool,
    ) -> Result<(), ShardError> {
        let (base, since) = (self.producer.base(), Instant::now());
        loop {
            let error = match base.init_transactions(SLICE) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !goes_on(&error) {
                return Err(self.failure("taking over", &error));
            }
            // Some refusals come at once, and may end.
            base.poll(SLICE / 5);
            let log = &base.context().log;
            if let Some(reason) = log.refused_login() {
                let brokers = self.brokers();
                return Err(KafkaError::Authentication { brokers, reason }.into());
            }
            if give_up() {
                return Err(ShardError::GivenUp { id: self.id() });
            }
            if since.elapsed() > patience {
                let last = log.last_error().unwrap_or_else(|| error.to_string());
                let after_ms = patience.as_millis() as u64;
                return Err(
                    KafkaError::Unreachable { brokers: self.brokers(), after_ms, last }.into()
                );
            }
        }
    }

    /// Sends what is left, then commits. Until the first is done nothing asks for a commit, so up to
    /// there it is known that there was none.
    pub(super) fn finish(&mut self, give_up: &impl Fn() -> bool) -> Result<(), ShardError> {
        let (since, patience) = (Instant::now(), self.patience());
        loop {
            match self.producer.flush_slice() {
                Ok(true) => break,
                Ok(false) if give_up() => return Err(self.broken("given up, as told".to_string())),
                Ok(false) if since.elapsed() > patience => {
                    let reason = format!("not all sent within {} ms", patience.as_millis());
                    return Err(self.broken(reason));
                }
                Ok(false) => {}
                Err(error) => return Err(self.broken(error.to_string())),
            }
        }
        crash_point("sent");
        self.ask_to_commit(since)
    }

    /// Asks for the commit, and waits for the answer.
    ///
    /// Not in slices, as all else here, and never again once there was no answer: librdkafka 2.12 takes the
    /// commit for an abort, and ends the process with an assertion, when the answer comes after a resumed call
    /// has timed out in its first step. A machine that stands still for a moment is enough.
    fn ask_to_commit(&mut self, since: Instant) -> Result<(), ShardError> {
        loop {
            let left = self.patience().saturating_sub(since.elapsed());
            let error = match self.producer.base().commit_transaction(left) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let Some(superseded) = self.superseded(&error) {
                return Err(superseded);
            }
            let reason = error.to_string();
            if transactional(&error).is_some_and(RDKafkaError::txn_requires_abort) {
                // The brokers take an abort only of what is not committed.
                return Err(match self.end_without() {
                    Ok(()) => ShardError::Aborted { id: self.id(), reason },
                    Err(superseded @ ShardError::Superseded { .. }) => superseded,
                    Err(_) => self.unknown(since, reason),
                });
            }
            let no_answer = error.rdkafka_error_code() == Some(Code::OperationTimedOut);
            if no_answer || !goes_on(&error) {
                return Err(self.unknown(since, reason));
            }
            // Refused at once, which may end: nothing is under way.
            self.producer.base().poll(SLICE / 5);
        }
    }

    /// What is told of a transaction that cannot be committed any more; it is aborted.
    pub(super) fn broken(&mut self, reason: String) -> ShardError {
        let base = self.producer.base();
        // librdkafka throws away all records of a transaction once that has failed: what we heard may
        // be of those. Beginning another tells why, and begins none.
        let reason = match base.begin_transaction() {
            Err(error) => {
                if let Some(superseded) = self.superseded(&error) {
                    return superseded;
                }
                match transactional(&error).filter(|e| e.txn_requires_abort() || e.is_fatal()) {
                    Some(why) => format!("{why} ({})", why.name()),
                    None => reason,
                }
            }
            Ok(()) => reason,
        };
        match self.end_without() {
            Err(superseded @ ShardError::Superseded { .. }) => superseded,
            // Without an answer too: it will never be committed.
            _ => ShardError::Aborted { id: self.id(), reason },
        }
    }

    /// Aborts.
    pub(super) fn end_without(&mut self) -> Result<(), ShardError> {
        let (base, since) = (self.producer.base(), Instant::now());
        loop {
            let error = match base.abort_transaction(SLICE) {
                Ok(()) => break,
                Err(error) => error,
            };
            if let Some(superseded) = self.superseded(&error) {
                return Err(superseded);
            }
            if !goes_on(&error) || since.elapsed() > ABORT {
                return Err(self.unknown(since, error.to_string()));
            }
            // The records that were thrown away are reported, and librdkafka waits for us to look.
            base.poll(Duration::from_millis(1));
        }
        self.open = None;
        Ok(())
    }

    /// What an error means outside of a commit.
    pub(super) fn failure(&self, doing: &str, error: &RdError) -> ShardError {
        if let Some(superseded) = self.superseded(error) {
            return superseded;
        }
        let id = self.id();
        match error.rdkafka_error_code() {
            Some(code @ Code::TransactionalIdAuthorizationFailed) => {
                ShardError::Authorization { id, reason: code.to_string() }
            }
            Some(Code::InvalidTransactionTimeout) => {
                ShardError::TimeoutTooLong { id, timeout_ms: self.config.timeout_ms }
            }
            _ => KafkaError::client(format!("{doing} `{id}`"), error).into(),
        }
    }

    /// Whether another owner is the reason: of this error, or of the end of the whole producer.
    fn superseded(&self, error: &RdError) -> Option<ShardError> {
        let fatal = self.producer.base().client().fatal_error().map(|(code, _)| code);
        let fenced = |code: Code| {
            matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
        };
        let heard = [fatal, error.rdkafka_error_code()].into_iter().flatten().any(fenced);
        heard.then(|| ShardError::Superseded {
            id: self.id(),
            open_ms: self.open.map_or(0, |since| since.elapsed().as_millis() as u64),
            timeout_ms: self.config.timeout_ms,
        })
    }

    fn unknown(&self, since: Instant, reason: String) -> ShardError {
        let after_ms = since.elapsed().as_millis() as u64;
        ShardError::Unknown { id: self.id(), after_ms, reason }
    }

    /// How long a transaction is worth waiting for: the brokers end it then.
    fn patience(&self) -> Duration {
        Duration::from_millis(self.config.timeout_ms.into())
    }

    fn id(&self) -> String {
        self.config.transactional_id.clone()
    }
}

fn transactional(error: &RdError) -> Option<&RDKafkaError> {
    match error {
        RdError::Transaction(error) => Some(error),
        _ => None,
    }
}

/// Whether the call may be made again: there was no answer yet, or one for now.
fn goes_on(error: &RdError) -> bool {
    transactional(error).is_some_and(RDKafkaError::is_retriable)
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
