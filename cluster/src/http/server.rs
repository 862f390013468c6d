//! The server: a few threads that each accept, answer one request and close.

use std::hint::black_box;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tideflow_core::Secret;

use super::address::HttpError;
use super::request::{Request, Unread, read_before};

/// Requests answered at once. Further ones wait in the kernel's queue.
const THREADS: usize = 4;
/// Longest time for one request, reading and writing. A client slower than that is cut off, so
/// that four of them cannot keep Prometheus out for ever.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest wait for the client to close after its answer.
const LINGER_MAX: Duration = Duration::from_millis(500);
/// Bytes of an unwanted body that are read off before closing, so that the client sees the answer.
const BODY_MAX: usize = 64 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const UNKNOWN: &str = "not found, there are /metrics, /healthz and /readyz\n";

/// What the pages show. Each function is called anew for a request, on the server's threads.
pub struct Pages {
    /// `/metrics`: Prometheus' text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// `/readyz`: whether the graph is processing, or why not.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// The running server. Dropped, it gives its port back.
pub struct HttpServer {
    address: SocketAddr,
    closing: Arc<AtomicBool>,
}

struct Shared {
    listener: TcpListener,
    pages: Pages,
    token: Secret,
    closing: Arc<AtomicBool>,
}

impl HttpServer {
    /// Serves the pages. With a token that is not empty, every request must carry it.
    ///
    /// # Errors
    /// When the port is in use or the operating system refuses it.
    pub fn start(
        address: SocketAddr,
        token: Secret,
        pages: Pages,
    ) -> Result<HttpServer, HttpError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => HttpError::Busy { address },
            _ => HttpError::Listen { address, source },
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let closing = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared { listener, pages, token, closing: Arc::clone(&closing) });
        let server = HttpServer { address: bound, closing };
        for _ in 0..THREADS {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name("http".into());
            builder.spawn(move || shared.serve()).map_err(failed)?;
        }
        Ok(server)
    }

    /// Where it listens, with the port that was taken for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        for _ in 0..THREADS {
            // Wakes a thread that waits for a connection. One that answers a slow client is not
            // waited for.
            let _ = TcpStream::connect_timeout(&self.address, REQUEST_TIME_MAX);
        }
    }
}

impl Shared {
    fn serve(&self) {
        while !self.closing.load(Ordering::SeqCst) {
            match self.listener.accept() {
                Ok(_) if self.closing.load(Ordering::SeqCst) => return,
                // A client that is gone or slow is its own affair.
                Ok((stream, _)) => drop(self.answer(stream)),
                Err(error) => {
                    // Out of file descriptors, say: try again when there may be some.
                    tracing::warn!(%error, "an http connection was not accepted");
                    thread::park_timeout(Duration::from_millis(200));
                }
            }
        }
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let deadline = Instant::now() + REQUEST_TIME_MAX;
        let (head, response) = match Request::read(&mut stream, deadline) {
            Ok(request) => (request.method == "HEAD", self.page(&request)),
            Err(Unread::Malformed) => (false, Response::text(400, "bad request\n")),
            Err(Unread::TooLong) => (false, Response::text(431, "request too long\n")),
            Err(Unread::Gone) => return Ok(()),
        };
        // Far more than a page takes: a write only waits for a client that does not read.
        stream.set_write_timeout(Some(REQUEST_TIME_MAX))?;
        stream.write_all(&response.bytes(head))?;
        stream.shutdown(Shutdown::Write)?;
        let deadline = deadline.min(Instant::now() + LINGER_MAX);
        let (mut rest, mut read) = ([0; 4096], 0);
        while read < BODY_MAX {
            match read_before(&mut stream, &mut rest, deadline)? {
                0 => break,
                more => read += more,
            }
        }
        Ok(())
    }

    fn page(&self, request: &Request) -> Response {
        if !self.admits(request) {
            return Response::text(401, "a bearer token is required\n");
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Response::text(405, "only GET and HEAD\n");
        }
        match request.path.as_str() {
            "/metrics" => {
                Response { status: 200, content_type: PROMETHEUS, body: (self.pages.metrics)() }
            }
            "/healthz" => Response::text(200, "ok\n"),
            "/readyz" => match (self.pages.ready)() {
                Ok(()) => Response::text(200, "ready\n"),
                Err(why) => Response::text(503, &format!("not ready: {why}\n")),
            },
            _ => Response::text(404, UNKNOWN),
        }
    }

    fn admits(&self, request: &Request) -> bool {
        let given = request.authorization.as_deref().unwrap_or_default();
        let given = given.strip_prefix("Bearer ").unwrap_or_default();
        self.token.is_empty() || same(given.as_bytes(), self.token.reveal().as_bytes())
    }
}

/// Whether two texts are equal, in a time that depends on their lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| black_box(differ | (a ^ b)));
    a.len() == b.len() && differ == 0
}

struct Response {
    status: u16,
    content_type: &'static str,
    body: String,
}

impl Response {
    fn text(status: u16, body: &str) -> Response {
        Response { status, content_type: TEXT, body: body.into() }
    }

    fn bytes(&self, without_body: bool) -> Vec<u8> {
        let (reason, extra) = match self.status {
            200 => ("OK", ""),
            400 => ("Bad Request", ""),
            401 => ("Unauthorized", "WWW-Authenticate: Bearer\r\n"),
            404 => ("Not Found", ""),
            405 => ("Method Not Allowed", "Allow: GET, HEAD\r\n"),
            431 => ("Request Header Fields Too Large", ""),
            _ => ("Service Unavailable", ""),
        };
        let Response { status, content_type, body } = self;
        let length = body.len();
        let shown = if without_body { "" } else { body };
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: \
             {length}\r\nCache-Control: no-store\r\n{extra}Connection: close\r\n\r\n{shown}"
        )
        .into_bytes()
    }
}
