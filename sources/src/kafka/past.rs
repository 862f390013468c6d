//! What a source reads in a backtest: [`tideflow_core::Backtest`].

use tideflow_core::Backtest;
use tideflow_core::kafka::KafkaError;

use super::consumer::{BatchConsumer, StartOffset};
use super::source::{KafkaSourceConfig, Start, Until, ms};

/// How a topic is read in one, whatever the configuration says: from the first record on that may be of its
/// time; where records have no time, all that there were by then.
pub(super) fn over(
    backtest: &Backtest,
    config: KafkaSourceConfig,
    timed: bool,
) -> KafkaSourceConfig {
    // A record lies no further than this before its own time by Kafka's timestamp: others are rejected.
    let first = backtest.warm_up_from.minus(ms(config.max_future_ms));
    let start = if timed { Start::At(first.0) } else { Start::Earliest };
    KafkaSourceConfig { start, until: Until::End, ..config }
}

/// Where reading ends at the latest. Records with a time tell by themselves when theirs is over.
pub(super) fn end(backtest: Option<&Backtest>, timed: bool) -> StartOffset {
    match backtest {
        Some(backtest) if !timed => StartOffset::Timestamp(backtest.to.0),
        _ => StartOffset::Latest,
    }
}

/// Takes note where the first records that are left are not the first there were: those of the time may be
/// among what is gone.
pub(super) fn note_lost(
    backtest: &Backtest,
    topic: &str,
    consumer: &BatchConsumer,
    positions: &[(i32, i64)],
) -> Result<(), KafkaError> {
    let asked: Vec<_> = positions.iter().map(|(p, _)| (*p, StartOffset::Earliest)).collect();
    let firsts = consumer.resolve(&asked)?;
    let lost = |((_, next), (_, first)): (&(i32, i64), &(i32, i64))| next == first && *first > 0;
    if positions.iter().zip(&firsts).any(lost) {
        backtest.note(format!(
            "topic `{topic}`: reading begins with the oldest records that are left; earlier ones are deleted, \
             and may have been of the time that is asked for"
        ));
    }
    Ok(())
}
