//! The HTTP pages, over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tideflow_cluster::http::{HttpError, HttpServer, Pages};
use tideflow_core::Secret;

fn start(token: &str, ready: Result<(), &'static str>) -> HttpServer {
    let pages = Pages {
        metrics: Box::new(|| "a_total 1\n".into()),
        ready: Box::new(move || ready.map_err(str::to_owned)),
    };
    HttpServer::start("127.0.0.1:0".parse().unwrap(), Secret::new(token), pages).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Status and body of a response.
fn raw(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    if !request.starts_with("HEAD") {
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    }
    assert!(head.ends_with("\r\nConnection: close"), "{head}");
    (status, body.into())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    raw(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn the_pages_answer_and_others_are_not_found() {
    let server = start("", Ok(()));
    let at = server.address();
    assert_eq!(get(at, "/metrics"), (200, "a_total 1\n".into()));
    assert_eq!(get(at, "/metrics?name[]=a"), (200, "a_total 1\n".into()));
    assert_eq!(get(at, "/healthz"), (200, "ok\n".into()));
    assert_eq!(get(at, "/readyz"), (200, "ready\n".into()));
    let unknown = "not found, there are /metrics, /healthz and /readyz\n";
    assert_eq!(get(at, "/config"), (404, unknown.into()));
    assert_eq!(raw(at, "HEAD /metrics HTTP/1.1\r\n\r\n"), (200, String::new()));
    assert_eq!(raw(at, "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").0, 405);
    assert_eq!(raw(at, "SSH-2.0-x\r\n\r\n").0, 400);
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(9_000));
    assert_eq!(raw(at, &long).0, 431);
}

#[test]
fn a_graph_that_is_not_ready_says_why() {
    let server = start("", Err("no assignment yet"));
    assert_eq!(get(server.address(), "/readyz"), (503, "not ready: no assignment yet\n".into()));
    assert_eq!(get(server.address(), "/healthz").0, 200);
}

#[test]
fn with_a_token_every_request_must_carry_it() {
    let server = start("hunter2", Ok(()));
    let with = |header: &str| {
        raw(server.address(), &format!("GET /metrics HTTP/1.1\r\n{header}\r\n\r\n")).0
    };
    for wrong in [
        "Host: x",
        "Authorization: Bearer hunter",
        "Authorization: Bearer hunter22",
        "Authorization: Bearer ",
        "Authorization: hunter2",
        "Authorization: Basic hunter2",
    ] {
        assert_eq!(with(wrong), 401, "{wrong}");
    }
    assert_eq!(with("authorization: Bearer hunter2"), 200);
    assert_eq!(raw(server.address(), "GET /nothing HTTP/1.1\r\n\r\n").0, 401);
}

#[test]
fn a_busy_port_is_named() {
    let server = start("", Ok(()));
    let pages = Pages { metrics: Box::new(String::new), ready: Box::new(|| Ok(())) };
    let error = HttpServer::start(server.address(), Secret::default(), pages).err().unwrap();
    assert!(matches!(error, HttpError::Busy { .. }));
    let port = server.address().port();
    let expected = format!("port {port} of `127.0.0.1` is in use by another program");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn fault_clients_that_send_nothing_are_cut_off_and_others_get_through() {
    let server = start("", Ok(()));
    let at = server.address();
    let mut stuck: Vec<_> = (0..6).map(|_| connect(at)).collect();
    for stream in &mut stuck {
        stream.write_all(b"GET /met").unwrap();
    }
    let asked = Instant::now();
    assert_eq!(get(at, "/healthz").0, 200);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    // The first was cut off without an answer.
    let mut rest = String::new();
    assert_eq!(stuck[0].read_to_string(&mut rest).unwrap_or(0), 0);
}

#[test]
fn fault_a_client_that_hangs_up_does_no_harm() {
    let server = start("", Ok(()));
    for _ in 0..20 {
        connect(server.address()).shutdown(Shutdown::Both).unwrap();
    }
    assert_eq!(get(server.address(), "/healthz").0, 200);
}

#[test]
fn a_dropped_server_gives_its_port_back() {
    let server = start("", Ok(()));
    let at = server.address();
    assert_eq!(get(at, "/healthz").0, 200);
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let pages = Pages { metrics: Box::new(String::new), ready: Box::new(|| Ok(())) };
        match HttpServer::start(at, Secret::default(), pages) {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}
