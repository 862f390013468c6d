//! A candidate beside the health model.

use tideflow::prelude::*;

use super::DeviceHealth;
use super::records::{CandidateRecord, Minute};

/// Has the candidate score beside the model, if there is one, and publishes both scores where there is a topic for
/// it. Yields the scores that count.
///
/// # Errors
/// When the candidate cannot be used or a part cannot start.
pub fn beside<'s>(
    flow: &Flow<'s>,
    config: &DeviceHealth,
    scored: Stream<'s, Scored<Minute>>,
) -> Result<Stream<'s, Scored<Minute>>, BuildError> {
    let Some((model, slice)) = config.candidate.beside(&config.model) else { return Ok(scored) };
    let both = Candidate::beside(scored, "candidate", &model, slice, |w: &Minute| &w.key)?;
    if let Some(topic) = config.topics.candidates() {
        let records = both.compared.map("candidate records", CandidateRecord::from)?;
        flow.sink("candidates out", records, KafkaSink::json(&config.kafka, &topic))?;
    }
    Ok(both.scored)
}
