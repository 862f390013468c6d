//! Accepting the processes further down in the list, and turning away all others.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::hello::{self, Accepted, Refusal};
use super::lane::Connection;
use super::meeting::{Event, MeetError, Shared};

/// How long the first words of somebody may take: longer than who connects waits for an answer, so that this says
/// nothing into a connection that is given up.
const HANDSHAKE: Duration = Duration::from_secs(8);
/// Between two looks for somebody who connects.
const LOOK: Duration = Duration::from_millis(5);
/// Connections whose first words are awaited at once, beside three for each process that is expected: more are closed.
const UNKNOWN_MAX: usize = 16;
/// How long one that was refused is given to read why.
const LINGER: Duration = Duration::from_millis(500);

/// Accepts until the meeting is over.
pub(super) fn accept_all(shared: &Arc<Shared>, listener: &TcpListener, events: &Sender<Event>) {
    let most = UNKNOWN_MAX + 3 * shared.meeting.addresses.len();
    let mut unknown = Vec::new();
    while !shared.over.load(Ordering::Acquire) {
        unknown.retain(Unknown::is_patient);
        let (socket, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::warn!(%error, "a connection could not be accepted");
                }
                thread::park_timeout(LOOK);
                continue;
            }
        };
        if shared.unknown.load(Ordering::Acquire) >= most {
            tracing::warn!(%from, "too many connections at once: one is closed");
            continue;
        }
        let heard = Arc::new(());
        match socket.try_clone() {
            Ok(socket) => unknown.push(Unknown {
                since: Instant::now(),
                heard: Arc::downgrade(&heard),
                socket,
            }),
            Err(error) => {
                tracing::warn!(%from, %error, "a connection could not be accepted");
                continue;
            }
        }
        shared.unknown.fetch_add(1, Ordering::AcqRel);
        let (ours, events) = (Arc::clone(shared), events.clone());
        let answer = move || {
            if let Some(event) = answer(&ours, socket, from, heard) {
                let _ = events.send(event);
            }
            ours.unknown.fetch_sub(1, Ordering::AcqRel);
        };
        if let Err(error) = thread::Builder::new().name("answer".into()).spawn(answer) {
            shared.unknown.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!(%error, "no thread for a connection");
        }
    }
}

/// A connection whose first words are awaited.
struct Unknown {
    since: Instant,
    /// Held until they were heard.
    heard: Weak<()>,
    socket: TcpStream,
}

impl Unknown {
    /// Whether to go on waiting. Somebody who says a little now and then is not waited for either: the connection is
    /// closed.
    fn is_patient(&self) -> bool {
        let (waits, late) = (self.heard.strong_count() > 0, self.since.elapsed() > HANDSHAKE);
        if waits && late {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
        waits && !late
    }
}

/// Hears who has connected. Whoever does not belong to the job, or is not as this process is, is told so and is no
/// reason to end: the one that does may come yet.
fn answer(shared: &Shared, socket: TcpStream, from: SocketAddr, waits: Arc<()>) -> Option<Event> {
    let left = socket.try_clone();
    let heard = hear(shared, socket);
    drop(waits);
    let event = match heard {
        Ok((Accepted { process, lane, attempt, unfit: None }, connection)) => {
            return Some(Event::Opened(process, (lane, attempt), connection));
        }
        Ok((Accepted { process, unfit: Some(other), .. }, mut connection)) => {
            connection.say_goodbye();
            tracing::warn!(%from, "process {process} was refused: {}", other.what);
            let known = process < shared.meeting.addresses.len();
            match other.passing {
                // What this process found at its start is no longer so, perhaps: it looks anew.
                true => Some(Event::Failed(MeetError::new(other.kind(), other.what))),
                false => known.then(|| Event::Hindered(process, other.what)),
            }
        }
        Err(Refusal::Stranger(reason)) => {
            tracing::warn!(%from, "a connection that is not of this job was refused: {reason}");
            None
        }
        Err(Refusal::Network(error)) => {
            tracing::debug!(%from, %error, "a connection ended before it was known");
            None
        }
        Err(Refusal::Other(other) | Refusal::Told(other)) => {
            unreachable!("only who connects hears that: {}", other.what)
        }
    };
    if let Ok(socket) = left {
        linger(socket);
    }
    event
}

fn hear(shared: &Shared, socket: TcpStream) -> Result<(Accepted, Connection), Refusal> {
    // On some systems it is as the listener is.
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    let mut connection = Connection::from(socket, shared.tls.as_ref())?;
    connection.limit(Some(HANDSHAKE))?;
    let heard = hello::accept(&mut connection, &shared.meeting, (shared.start, &shared.facts));
    if heard.is_err() {
        connection.say_goodbye();
    }
    let accepted = heard?;
    connection.limit(None)?;
    Ok((accepted, connection))
}

/// Waits until the other side has read why it was refused: what is closed with something unread takes that along.
fn linger(mut socket: TcpStream) {
    let _ = socket.shutdown(Shutdown::Write);
    let _ = socket.set_read_timeout(Some(LINGER));
    let until = Instant::now() + LINGER;
    let mut rest = [0; 1024];
    while Instant::now() < until && socket.read(&mut rest).is_ok_and(|read| read > 0) {}
}
