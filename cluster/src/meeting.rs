//! A graph's process among those of its job.

use std::sync::Arc;
use std::time::Duration;

use tideflow_core::{Durability, ErrorKind, Plan, Workers};
use xxhash_rust::xxh3::xxh3_128;

use crate::exit::Exit;
use crate::mesh::{self, Facts, Lost, MeetError, Meeting, Watch};
use crate::{Finding, RunFailure, Setup, panic};

/// Meets the other processes, and watches over them from then on: the workers, which run when all are there.
pub(crate) fn meet<C>(
    setup: &Setup<C>,
    graph: &str,
    plan: &Plan,
    durability: &dyn Durability,
) -> Result<(Workers, Watch), RunFailure> {
    let meeting = meeting(setup);
    let workers = &setup.framework.workers;
    let fatal = |error: std::io::Error| RunFailure {
        kind: ErrorKind::Fatal,
        message: format!("meeting the other processes: {error}"),
    };
    let facts = Facts {
        job: graph.to_string(),
        processes: setup.hosts.len(),
        threads: workers.threads,
        program: mesh::program_digest().map_err(fatal)?,
        graph: format!("{:032x}", xxh3_128(plan.json(graph).to_string().as_bytes())),
        settings: setup.settings.shared(),
        generation: durability.generation()?,
    };
    let lost = |Lost { name, why, superseded, .. }: &Lost| {
        // It must not be started again either.
        let exit = if *superseded { Exit::Superseded } else { Exit::PeerLost };
        panic::end_with(exit, &format!("{name} is lost: {why}"))
    };
    mesh::meet(&meeting, &facts, Arc::new(lost))?.workers(workers.threads).map_err(fatal)
}

/// Whether the processes may meet as they are set up; nothing for one alone.
pub(crate) fn check<C>(setup: &Setup<C>) -> Option<Finding> {
    (setup.hosts.len() > 1).then(|| {
        let what = format!("{} processes", setup.hosts.len());
        let outcome = mesh::check(&meeting(setup));
        Finding { what, outcome: outcome.map_err(|error| RunFailure::from(error).into()) }
    })
}

fn meeting<C>(setup: &Setup<C>) -> Meeting {
    let workers = &setup.framework.workers;
    Meeting {
        addresses: setup.hosts.clone(),
        process: workers.process,
        join_timeout: Duration::from_millis(workers.join_timeout_ms),
        lost_after: Duration::from_millis(workers.lost_after_ms),
        tls: workers.tls(),
        token: workers.token.clone(),
    }
}

impl From<MeetError> for RunFailure {
    fn from(MeetError { kind, message }: MeetError) -> RunFailure {
        RunFailure { kind, message }
    }
}
