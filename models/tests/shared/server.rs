//! A server for tests that speaks just enough HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is asked of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path with its query, as it came.
    pub target: String,
    /// The token, where one came.
    pub token: Option<String>,
    /// What was sent.
    #[allow(dead_code, reason = "one of the tests looks at it")]
    pub body: Vec<u8>,
}

/// What it answers.
pub enum Answer {
    /// A status and a body.
    Whole(u16, Vec<u8>),
    /// The beginning of a body that was promised to be longer.
    CutShort(Vec<u8>),
    /// Nothing, for as long as the test runs.
    Silence,
}

type Answers = dyn Fn(&Asked) -> Answer + Send + Sync;

/// Runs until the test ends.
pub struct Server {
    /// Its address.
    pub url: String,
    answers: Arc<Mutex<Arc<Answers>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers so, on a free port.
    pub fn start(answers: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let answers: Arc<Mutex<Arc<Answers>>> = Arc::new(Mutex::new(Arc::new(answers)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = Server { url, answers: answers.clone(), asked: asked.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, asked) = (answers.lock().unwrap().clone(), asked.clone());
                let stream = stream.expect("a connection");
                thread::spawn(move || serve(stream, &*answers, &asked));
            }
        });
        server
    }

    /// Answers so from now on.
    pub fn answer(&self, answers: impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Arc::new(answers);
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// One question, one answer, and the connection is closed.
fn serve(mut stream: TcpStream, answers: &Answers, asked: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("it is open"));
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let target = line.split(' ').nth(1).expect("a target").to_string();
    let (mut token, mut length) = (None, 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("headers");
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "authorization" => token = value.strip_prefix("Bearer ").map(ToString::to_string),
            "content-length" => length = value.parse().expect("a number"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let question = Asked { target, token, body };
    asked.lock().unwrap().push(question.clone());
    let (status, body, more) = match answers(&question) {
        Answer::Whole(status, body) => (status, body, 0),
        Answer::CutShort(body) => (200, body, 10),
        Answer::Silence => loop {
            thread::park();
        },
    };
    let length = body.len() + more;
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}
