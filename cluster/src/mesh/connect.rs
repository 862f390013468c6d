//! Connecting to a process further up in the list.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use aws_lc_rs::rand;
use tideflow_core::ErrorKind;

use super::hello::{self, Lane, Refusal};
use super::lane::Connection;
use super::meeting::{Event, MeetError, Shared};
use super::peers::lanes;

/// How long a connection, and each of its first words, may take.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// Between two tries, at first and at most.
const AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// A random number.
pub(super) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Opens all lanes to a process, again and again until it is there.
pub(super) fn connect_to(shared: &Shared, process: usize, events: &Sender<Event>) {
    let mut wait = AGAIN[0];
    while !shared.over.load(Ordering::Acquire) {
        let name = shared.meeting.name(process);
        let failed = |kind, message| Event::Failed(MeetError::new(kind, message));
        let event = match open_all(shared, process) {
            Ok((attempt, opened)) => {
                for (lane, connection) in opened {
                    let _ = events.send(Event::Opened(process, (lane, attempt), connection));
                }
                return;
            }
            Err(Refusal::Network(error)) => Event::Hindered(process, hindrance(&error)),
            Err(Refusal::Stranger(reason)) => {
                failed(ErrorKind::Invalid, format!("{name} is not trusted: {reason}"))
            }
            Err(Refusal::Other(other)) => failed(other.kind(), other.what),
            Err(Refusal::Told(other)) => {
                failed(other.kind(), format!("{name} refuses this one: {}", other.what))
            }
        };
        let over = matches!(event, Event::Failed(_));
        if events.send(event).is_err() || over {
            return;
        }
        thread::park_timeout(jittered(wait));
        wait = AGAIN[1].min(wait * 2);
    }
}

fn hindrance(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            "it is there and says nothing: is `workers.ca_file` set for all processes, or for none?"
                .into()
        }
        _ => error.to_string(),
    }
}

/// A random part of the second half of it is left out: the processes of a large job do not all try at once.
fn jittered(wait: Duration) -> Duration {
    let part = random().map_or(0, |random| (random % 512) as u32);
    wait - wait * part / 1024
}

type Opened = Vec<(Lane, Connection)>;

fn open_all(shared: &Shared, process: usize) -> Result<(u64, Opened), Refusal> {
    let attempt = random()?;
    let mut leads_to = None;
    let mut opened = Opened::new();
    for lane in lanes(shared.tls.is_some()) {
        let (start, connection) = open(shared, (process, *lane, attempt))?;
        if *leads_to.get_or_insert(start) != start {
            return Err(Refusal::Network(io::Error::other("it was started again meanwhile")));
        }
        opened.push((*lane, connection));
    }
    Ok((attempt, opened))
}

fn open(shared: &Shared, lane: (usize, Lane, u64)) -> Result<(u64, Connection), Refusal> {
    let address = &shared.meeting.addresses[lane.0];
    let mut connection = Connection::to(dial(address)?, address, shared.tls.as_ref())?;
    connection.limit(Some(HANDSHAKE))?;
    let start = hello::connect(&mut connection, lane, &shared.meeting, &shared.facts)?;
    connection.limit(None)?;
    Ok((start, connection))
}

fn dial(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, HANDSHAKE) {
            Ok(socket) => return socket.set_nodelay(true).map(|()| socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
