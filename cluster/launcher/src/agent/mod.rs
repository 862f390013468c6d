//! What the launcher does on a host: this same program, which answers one request.
//!
//! A job has a folder of its own below the place:
//! ```text
//! PLACE/bin/tideflow-DIGEST         agents
//! PLACE/JOB/objects/SHA256          content, each once
//! PLACE/JOB/releases/N-DIGEST/      links to it: bin/, config.toml, models/, native/, release.json
//! PLACE/JOB/current                 a link to the release that runs
//! PLACE/JOB/assigned.json, hosts    which process runs here, and the addresses of all
//! PLACE/JOB/run.env, secrets/       its settings; what nobody else may read
//! PLACE/JOB/work/                   where it runs, with `models` as a link; never removed by `down`
//! PLACE/JOB/logs/, supervise.*      of hosts without systemd
//! ```

mod checks;
mod doctor;
mod facts;
mod logs;
mod network;
mod pages;
mod place;
mod placing;
mod process;
mod store;
mod systemctl;

use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::wire::{Ask, Line, Request};
use place::Place;

pub(crate) use facts::libc;
pub use placing::variables;

/// Bytes of a request's line at most.
const REQUEST_MAX: u64 = 64 << 20;

/// Something that cannot be done on a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The operating system refuses.
    #[error("{what}: {source}{}", remedy(.source))]
    Io {
        /// What was tried.
        what: String,
        /// Its words.
        source: io::Error,
    },
    /// What was found does not allow it.
    #[error("{0}")]
    Found(String),
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => " (make room, or set `place.folder` to a larger disk)",
        io::ErrorKind::PermissionDenied => " (set `ssh.user`, or `ssh.sudo = true`)",
        io::ErrorKind::ReadOnlyFilesystem => " (set `place.folder` to a disk that can be written)",
        _ => "",
    }
}

/// Says what was tried when it failed.
fn at(what: impl Into<String>) -> impl FnOnce(io::Error) -> AgentError {
    move |source| AgentError::Io { what: what.into(), source }
}

/// Answers the request on standard input.
pub fn main() -> ExitCode {
    let mut input = io::stdin().lock();
    let mut line = String::new();
    let request = (&mut input)
        .take(REQUEST_MAX)
        .read_line(&mut line)
        .map_err(at("reading the request"))
        .and_then(|_| {
            serde_json::from_str::<Request>(&line)
                .map_err(|e| AgentError::Found(format!("the request was not understood: {e}")))
        });
    let answered = request.and_then(|request| answer(request, &mut input));
    let last = match answered {
        Ok(value) => Line::Done(value),
        Err(error) => Line::Failed(error.to_string()),
    };
    match say(&last) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer(request: Request, input: &mut impl BufRead) -> Result<Value, AgentError> {
    let place = Place::of(&request.place, &request.job);
    let ms = Duration::from_millis;
    match request.ask {
        Ask::Facts => json(facts::facts(&place)?),
        Ask::Missing(objects) => json(store::missing(&place, &objects)),
        Ask::Put(objects) => json(store::put(&place, &objects, input)?),
        Ask::Install { name, release } => json(store::install(&place, &name, &release)?),
        Ask::Check { release, placement, timeout_ms } => {
            json(checks::check(&place, release.as_deref(), placement.as_deref(), ms(timeout_ms))?)
        }
        Ask::Stop { timeout_ms } => json(process::stop(&place, ms(timeout_ms))?),
        Ask::Start { release, placement } => {
            process::expect_stopped(&place)?;
            if let Some(release) = &release {
                store::switch(&place, release)?;
            }
            // Behind that: some settings depend on what the release holds.
            match &placement {
                Some(placement) => placing::place(&place, placement)?,
                None => placing::settle(&place)?,
            }
            process::start(&place)?;
            json(store::prune(&place).err().map(|why| why.to_string()))
        }
        Ask::Leave => json(process::leave(&place)?),
        Ask::Status => json(process::status(&place)?),
        Ask::Logs { lines, follow } => json(logs::print(&place, lines, follow)?),
        Ask::Doctor { http, cluster, hosts, own } => {
            let mut found = doctor::findings(&place, &[http, cluster]);
            if hosts.len() > 1 {
                found.extend(network::findings(&hosts, own, cluster));
            }
            json(found)
        }
        Ask::Remove => json(process::remove(&place)?),
    }
}

fn json(value: impl Serialize) -> Result<Value, AgentError> {
    serde_json::to_value(value).map_err(|e| AgentError::Found(format!("its answer: {e}")))
}

/// Writes a line to standard output.
fn say(line: &Line) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}
