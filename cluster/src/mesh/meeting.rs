//! The processes of a job find each other.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;
use std::{io, thread};

use tideflow_core::{ErrorKind, Workers};

use super::accept::accept_all;
use super::connect::{connect_to, random};
use super::hello::Lane;
use super::lane::{Connection, DataSocket};
use super::peers::Peer;
use super::pump::pump;
use super::tls::{Tls, is_loopback};
use super::watch::{OnLost, Watch};
use super::{Facts, Meeting};

/// Why the processes did not meet.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct MeetError {
    /// What to do about it.
    pub kind: ErrorKind,
    /// What is wrong: expected and found.
    pub message: String,
}

impl MeetError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> MeetError {
        MeetError { kind, message: message.into() }
    }

    fn system(error: io::Error) -> MeetError {
        MeetError::new(ErrorKind::Fatal, format!("meeting the other processes: {error}"))
    }
}

/// A process that has met the others.
pub struct Mesh {
    process: usize,
    /// What carries records to each other process, in the order of their indices; none to itself.
    sockets: Vec<Option<DataSocket>>,
    watch: Watch,
}

impl Mesh {
    /// So many workers of this process, connected with those of the others, and the watch over these.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn workers(self, threads: usize) -> io::Result<(Workers, Watch)> {
        Ok((Workers::connected(threads, self.process, self.sockets)?, self.watch))
    }
}

/// What happens while they meet.
pub(super) enum Event {
    /// A lane with a process, of its attempt of this number.
    Opened(usize, (Lane, u64), Connection),
    /// One could not be opened, and will be tried again.
    Hindered(usize, String),
    Failed(MeetError),
}

/// What the threads of a meeting share.
pub(super) struct Shared {
    pub meeting: Meeting,
    pub facts: Facts,
    pub tls: Option<Tls>,
    /// A number of this start.
    pub start: u64,
    /// Set when they have met, or will not.
    pub over: AtomicBool,
    /// Connections whose first words are awaited.
    pub unknown: AtomicUsize,
}

/// Meets the other processes of the job: connects to those further up in the list, is connected to by those further
/// down. `on_lost` is called when one of them is lost, from its first lane on.
///
/// # Errors
/// When not all are there in time, one of them does not belong to the job or is not as this one is, or the own
/// address cannot be listened at.
pub fn meet(meeting: &Meeting, facts: &Facts, on_lost: OnLost) -> Result<Mesh, MeetError> {
    let tls = secured(meeting)?;
    let (process, own) = (meeting.process, &meeting.addresses[meeting.process]);
    let listener = TcpListener::bind(own).map_err(|error| {
        let message = format!("cannot listen at `{own}` for the other processes: {error}");
        MeetError::new(ErrorKind::Unavailable, message)
    })?;
    let (others, encrypted) = (meeting.addresses.len() - 1, tls.is_some());
    tracing::info!(process, own, others, encrypted, "waiting for the other processes");
    let shared = Arc::new(Shared {
        meeting: meeting.clone(),
        facts: facts.clone(),
        tls,
        start: random().map_err(MeetError::system)?,
        over: AtomicBool::new(false),
        unknown: AtomicUsize::new(0),
    });
    let (events, happening) = channel();
    let met = match start(&shared, listener, events) {
        Ok(()) => gather(&shared, &happening, on_lost),
        Err(error) => Err(MeetError::system(error)),
    };
    shared.over.store(true, Ordering::Release);
    met
}

/// Whether processes may meet so, and what encrypts between them. Touches nothing but its files.
///
/// # Errors
/// When they lack what they need outside of loopback, or a file cannot be used.
pub fn check(meeting: &Meeting) -> Result<String, MeetError> {
    Ok(match secured(meeting)? {
        Some(_) => "over TLS, both ways".to_string(),
        None => "in plain text, on loopback".to_string(),
    })
}

/// What encrypts, where something must.
fn secured(meeting: &Meeting) -> Result<Option<Tls>, MeetError> {
    let invalid = |message: String| MeetError::new(ErrorKind::Invalid, message);
    if let Some(open) = meeting.addresses.iter().find(|address| !is_loopback(address)) {
        let needed = match (&meeting.tls, meeting.token.is_empty()) {
            (None, _) => "`workers.ca_file`, `workers.certificate_file` and `workers.key_file`",
            (_, true) => "`workers.token`",
            _ => "",
        };
        if !needed.is_empty() {
            let message = format!("`{open}` is not on loopback: such processes need {needed}");
            return Err(invalid(message));
        }
    }
    let tls = meeting.tls.as_ref().map(Tls::read).transpose();
    tls.map_err(|error| invalid(error.to_string()))
}

/// Starts the threads that accept and connect.
fn start(shared: &Arc<Shared>, listener: TcpListener, events: Sender<Event>) -> io::Result<()> {
    for process in 0..shared.meeting.process {
        let (shared, events) = (Arc::clone(shared), events.clone());
        let connect = move || connect_to(&shared, process, &events);
        thread::Builder::new().name(format!("connect-{process}")).spawn(connect)?;
    }
    if shared.meeting.process + 1 < shared.meeting.addresses.len() {
        listener.set_nonblocking(true)?;
        let shared = Arc::clone(shared);
        let accept = move || accept_all(&shared, &listener, &events);
        thread::Builder::new().name("accept".into()).spawn(accept)?;
    }
    Ok(())
}

/// Waits until all lanes are there.
fn gather(
    shared: &Arc<Shared>,
    happening: &Receiver<Event>,
    on_lost: OnLost,
) -> Result<Mesh, MeetError> {
    let meeting = &shared.meeting;
    let encrypted = shared.tls.is_some();
    let deadline = Instant::now() + meeting.join_timeout;
    let watch = Watch::new(meeting, on_lost);
    let mut peers = Vec::new();
    peers.resize_with(meeting.addresses.len(), Peer::default);
    let there =
        |(process, peer): (usize, &Peer)| process == meeting.process || peer.is_complete(encrypted);
    while !peers.iter().enumerate().all(there) {
        let left = deadline.saturating_duration_since(Instant::now());
        match happening.recv_timeout(left) {
            Ok(Event::Opened(process, (lane, attempt), connection)) => {
                let peer = &mut peers[process];
                if peer.is_superseded_by(attempt) {
                    let message = format!("{} was started again", meeting.name(process));
                    return Err(MeetError::new(ErrorKind::Unavailable, message));
                }
                peer.begin(attempt);
                if lane == Lane::Control {
                    // From now on its end is noticed, whether or not all others are there.
                    watch.over(process, connection).map_err(MeetError::system)?;
                    peer.watched = true;
                    tracing::info!("process {process} is there");
                } else {
                    peer.add(lane, connection);
                }
            }
            Ok(Event::Hindered(process, why)) => peers[process].hindrance = Some(why),
            Ok(Event::Failed(error)) => return Err(error),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(missing(meeting, &peers, there));
            }
        }
    }
    let sockets = peers.into_iter().enumerate().map(|(process, peer)| socket(process, peer));
    let sockets = sockets.collect::<io::Result<_>>().map_err(MeetError::system)?;
    tracing::info!(process = meeting.process, "all processes are there");
    Ok(Mesh { process: meeting.process, sockets, watch })
}

/// What timely reads and writes.
fn socket(process: usize, mut peer: Peer) -> io::Result<Option<DataSocket>> {
    let Some((data, back)) = peer.take() else { return Ok(None) };
    let (out, back) = match (data, back) {
        (Connection::Plain(socket), _) => return Ok(Some(DataSocket::Tcp(socket))),
        // Who has connected sends on `Data`, who has accepted on `Back`.
        (data @ Connection::Client(_), Some(back)) => (data, back),
        (data, Some(back)) => (back, data),
        (_, None) => unreachable!("encrypted lanes come in pairs"),
    };
    pump(process, out, back).map(|socket| Some(DataSocket::Pump(socket)))
}

fn missing(meeting: &Meeting, peers: &[Peer], there: impl Fn((usize, &Peer)) -> bool) -> MeetError {
    let missing = peers.iter().enumerate().filter(|peer| !there(*peer)).map(|(process, peer)| {
        let name = meeting.name(process);
        match &peer.hindrance {
            Some(why) => format!("{name}: {why}"),
            None => name,
        }
    });
    let (missing, ms) = (missing.collect::<Vec<_>>().join("; "), meeting.join_timeout.as_millis());
    let message = format!(
        "not all processes of the job were there within {ms} ms (`workers.join_timeout_ms`): missing {missing}"
    );
    MeetError::new(ErrorKind::Unavailable, message)
}
