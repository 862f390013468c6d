//! A connection between two processes, in plain text or TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection, StreamOwned};
use tideflow_core::timely::communication::allocator::zero_copy::stream::Stream;

use super::hello::Refusal;
use super::tls::{Tls, server_name};

/// A connection, in plain text or TLS.
pub(super) enum Connection {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Connection {
    /// Of who has connected to this address.
    pub fn to(socket: TcpStream, address: &str, tls: Option<&Tls>) -> Result<Connection, Refusal> {
        let Some(tls) = tls else { return Ok(Connection::Plain(socket)) };
        let name = server_name(address).map_err(Refusal::Stranger)?;
        let connection = ClientConnection::new(Arc::clone(&tls.client), name)
            .map_err(|error| Refusal::Stranger(error.to_string()))?;
        Ok(Connection::Client(Box::new(StreamOwned::new(connection, socket))))
    }

    /// Of who has accepted.
    pub fn from(socket: TcpStream, tls: Option<&Tls>) -> Result<Connection, Refusal> {
        let Some(tls) = tls else { return Ok(Connection::Plain(socket)) };
        let connection = ServerConnection::new(Arc::clone(&tls.server))
            .map_err(|error| Refusal::Stranger(error.to_string()))?;
        Ok(Connection::Server(Box::new(StreamOwned::new(connection, socket))))
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Connection::Plain(socket) => socket,
            Connection::Client(stream) => &stream.sock,
            Connection::Server(stream) => &stream.sock,
        }
    }

    /// How long a read and a write may take; none: for ever.
    pub fn limit(&self, limit: Option<Duration>) -> io::Result<()> {
        self.socket().set_read_timeout(limit)?;
        self.socket().set_write_timeout(limit)
    }

    /// Says in TLS's own words that no more comes, so that it is no loss.
    pub fn say_goodbye(&mut self) {
        match self {
            Connection::Plain(_) => {}
            Connection::Client(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            Connection::Server(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Plain(socket) => socket.read(buffer),
            Connection::Client(stream) => stream.read(buffer),
            Connection::Server(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Plain(socket) => socket.write(bytes),
            Connection::Client(stream) => stream.write(bytes),
            Connection::Server(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Connection::Plain(socket) => socket.flush(),
            Connection::Client(stream) => stream.flush(),
            Connection::Server(stream) => stream.flush(),
        }
    }
}

/// What timely reads and writes, of which it makes a second handle.
pub(super) enum DataSocket {
    Tcp(TcpStream),
    /// To the threads that encrypt and decrypt.
    Pump(UnixStream),
}

impl Read for DataSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            DataSocket::Tcp(socket) => socket.read(buffer),
            DataSocket::Pump(socket) => socket.read(buffer),
        }
    }
}

impl Write for DataSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            DataSocket::Tcp(socket) => socket.write(bytes),
            DataSocket::Pump(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for DataSocket {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            DataSocket::Tcp(socket) => DataSocket::Tcp(socket.try_clone()?),
            DataSocket::Pump(socket) => DataSocket::Pump(socket.try_clone()?),
        })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            DataSocket::Tcp(socket) => socket.set_nonblocking(nonblocking),
            DataSocket::Pump(socket) => socket.set_nonblocking(nonblocking),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            DataSocket::Tcp(socket) => socket.shutdown(how),
            DataSocket::Pump(socket) => socket.shutdown(how),
        }
    }
}
