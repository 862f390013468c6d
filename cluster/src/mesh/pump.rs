//! Between timely, which needs a socket that it can clone, and TLS, of which there is one a lane: a thread a
//! direction, each with a lane of its own.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use super::lane::Connection;

/// Bytes that are carried at a time.
const BYTES: usize = 128 << 10;

/// A socket for timely: what it writes goes out on the one lane, what comes in on the other it reads.
pub(super) fn pump(process: usize, out: Connection, back: Connection) -> io::Result<UnixStream> {
    let (ours, timelys) = UnixStream::pair()?;
    let from = ours.try_clone()?;
    let mut out = out;
    spawn(format!("encrypt-{process}"), move || {
        let mut from = from;
        // Where it fails the other side sees a lane that ended in the middle.
        if carry(&mut from, &mut out).is_ok() {
            out.say_goodbye();
        }
        let _ = from.shutdown(Shutdown::Read);
    })?;
    let mut back = back;
    spawn(format!("decrypt-{process}"), move || {
        let mut to = ours;
        // Timely knows by what it has read whether that was all.
        let _ = carry(&mut back, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    })?;
    Ok(timelys)
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(run).map(drop)
}

fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read]).and_then(|()| to.flush())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
