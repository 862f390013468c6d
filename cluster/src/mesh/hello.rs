//! The first words on a lane: each side proves that it knows the job's token, and says what it is.
//!
//! Who accepts says a number; who connects answers with one of its own, a proof over both, and its facts; who accepts
//! answers with a proof and its facts, or with why it refuses. The token itself is never sent.

use std::io::{self, Read, Write};

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use tideflow_core::Secret;

use super::facts::{Difference, Facts};
use super::{Meeting, frame};

/// Counts up with every change of what is said here or on the lanes.
const PROTOCOL: u32 = 1;

type Nonce = [u8; 16];

/// What a lane is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Lane {
    /// Records: both ways in plain text, from who connected over TLS.
    Data,
    /// Records to who connected, over TLS.
    Back,
    /// Heartbeats and last words, both ways.
    Control,
}

#[derive(Serialize, Deserialize)]
struct Challenge {
    protocol: u32,
    nonce: Nonce,
}

#[derive(Serialize, Deserialize)]
struct Hello {
    protocol: u32,
    nonce: Nonce,
    proof: Vec<u8>,
    from: usize,
    to: usize,
    lane: Lane,
    /// One number for all lanes that were opened together.
    attempt: u64,
    facts: Facts,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    /// With a number of this start of the process: all lanes must lead to the same.
    Welcome {
        proof: Vec<u8>,
        start: u64,
        facts: Facts,
    },
    Refused {
        reason: String,
        passing: bool,
    },
}

/// Why a lane does not come about.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It may at the next try.
    Network(io::Error),
    /// The other side is not who it should be, or does not belong to the job: it is not listened to.
    Stranger(String),
    /// It belongs to the job, and is not as this process is.
    Other(Difference),
    /// The other side refuses this process.
    Told(Difference),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        match error.kind() {
            io::ErrorKind::InvalidData => match super::tls::refusal(&error) {
                Some(reason) => Refusal::Stranger(reason),
                None => Refusal::Stranger(error.to_string()),
            },
            _ => Refusal::Network(error),
        }
    }
}

/// The lane that somebody has opened.
pub(super) struct Accepted {
    pub process: usize,
    pub lane: Lane,
    pub attempt: u64,
    /// Why it was refused, where it belongs to the job and is not as this process is.
    pub unfit: Option<Difference>,
}

/// Says who accepts, and hears who it is.
pub(super) fn accept(
    lane: &mut (impl Read + Write),
    meeting: &Meeting,
    (start, facts): (u64, &Facts),
) -> Result<Accepted, Refusal> {
    let nonce = nonce()?;
    frame::write(lane, &Challenge { protocol: PROTOCOL, nonce })?;
    let hello: Hello = frame::read(lane)?;
    let judged = judge(&hello, &nonce, meeting, facts);
    let refused = |reason: &str, passing| Answer::Refused { reason: reason.to_string(), passing };
    let answer = match &judged {
        Ok(None) => {
            let proof = proof(&meeting.token, b"accepts", &nonce, &hello.nonce);
            Answer::Welcome { proof, start, facts: facts.clone() }
        }
        Ok(Some(Difference { what, passing })) => refused(what, *passing),
        Err(reason) => refused(reason, false),
    };
    frame::write(lane, &answer)?;
    let unfit = judged.map_err(Refusal::Stranger)?;
    Ok(Accepted { process: hello.from, lane: hello.lane, attempt: hello.attempt, unfit })
}

/// What differs of somebody who belongs to the job; an error of somebody who does not.
fn judge(
    hello: &Hello,
    nonce: &Nonce,
    meeting: &Meeting,
    facts: &Facts,
) -> Result<Option<Difference>, String> {
    if let Some(other) = other_protocol(hello.protocol) {
        return Err(other.what);
    }
    let own = meeting.name(meeting.process);
    if !proves(&meeting.token, b"connects", nonce, &hello.nonce, &hello.proof) {
        return Err(format!("it has another `workers.token` than {own}"));
    }
    let named = match meeting.addresses.get(hello.from) {
        Some(_) => meeting.name(hello.from),
        None => format!("process {}", hello.from),
    };
    let difference = facts.differs(&own, &hello.facts, &named);
    if difference.is_none() && (hello.to != meeting.process || hello.from <= meeting.process) {
        let what = format!(
            "another `workers.hostfile`: {named} takes {own} for process {}, or has its number",
            hello.to
        );
        return Ok(Some(Difference { what, passing: false }));
    }
    Ok(difference)
}

/// Says who connects to `process`, and hears whether it is welcome: the number of the start that it leads to.
pub(super) fn connect(
    lane: &mut (impl Read + Write),
    (process, kind, attempt): (usize, Lane, u64),
    meeting: &Meeting,
    facts: &Facts,
) -> Result<u64, Refusal> {
    let challenge: Challenge = frame::read(lane)?;
    if let Some(other) = other_protocol(challenge.protocol) {
        return Err(Refusal::Other(other));
    }
    let nonce = nonce()?;
    let hello = Hello {
        protocol: PROTOCOL,
        nonce,
        proof: proof(&meeting.token, b"connects", &challenge.nonce, &nonce),
        from: meeting.process,
        to: process,
        lane: kind,
        attempt,
        facts: facts.clone(),
    };
    frame::write(lane, &hello)?;
    match frame::read(lane)? {
        Answer::Refused { reason, passing } => {
            Err(Refusal::Told(Difference { what: reason, passing }))
        }
        Answer::Welcome { proof, start, facts: others } => {
            if !proves(&meeting.token, b"accepts", &challenge.nonce, &nonce, &proof) {
                return Err(Refusal::Stranger("it has another `workers.token`".into()));
            }
            let (own, name) = (meeting.name(meeting.process), meeting.name(process));
            facts
                .differs(&own, &others, &name)
                .map_or(Ok(start), |other| Err(Refusal::Other(other)))
        }
    }
}

fn other_protocol(theirs: u32) -> Option<Difference> {
    let what =
        format!("another Tideflow: its processes speak version {theirs}, this one {PROTOCOL}");
    (theirs != PROTOCOL).then_some(Difference { what, passing: false })
}

fn nonce() -> io::Result<Nonce> {
    let mut nonce = Nonce::default();
    rand::fill(&mut nonce).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(nonce)
}

fn key(token: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.reveal().as_bytes())
}

fn said(role: &[u8], accepts: &Nonce, connects: &Nonce) -> Vec<u8> {
    [role, accepts, connects].concat()
}

fn proof(token: &Secret, role: &[u8], accepts: &Nonce, connects: &Nonce) -> Vec<u8> {
    hmac::sign(&key(token), &said(role, accepts, connects)).as_ref().to_vec()
}

fn proves(token: &Secret, role: &[u8], accepts: &Nonce, connects: &Nonce, proof: &[u8]) -> bool {
    hmac::verify(&key(token), &said(role, accepts, connects), proof).is_ok()
}
