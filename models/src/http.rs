//! Asking servers that speak HTTP.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::{Certificate, Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tideflow_core::{ErrorKind, Secret};

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAccess {
    /// Its address: `http://host:port`, with a path where it has one.
    pub url: String,
    /// Sent as a bearer token, where one is given.
    pub token: Secret,
    /// PEM file of the authorities that may sign its certificate; empty: those of the system.
    pub ca_file: PathBuf,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for HttpAccess {
    fn default() -> Self {
        let (url, token, ca_file) = Default::default();
        HttpAccess { url, token, ca_file, timeout_ms: 30_000 }
    }
}

/// What a server did not give.
#[derive(Debug, thiserror::Error)]
#[error("{doing} at {url}: {reason}")]
pub struct HttpError {
    /// What was asked.
    pub doing: String,
    /// The server.
    pub url: String,
    /// What it said, or why it said nothing.
    pub reason: String,
    /// What to do about it.
    pub kind: ErrorKind,
}

/// Bytes of an answer that is not a file, at most.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// What a download may take.
pub(crate) struct Budget {
    since: Instant,
    time: Duration,
    bytes: u64,
    spent: u64,
}

impl Budget {
    /// So many bytes, and so much time from now on.
    pub fn new(bytes: u64, time: Duration) -> Self {
        Budget { since: Instant::now(), time, bytes, spent: 0 }
    }

    /// Takes so many bytes: or what is wrong, and what to do about it.
    pub fn spend(&mut self, bytes: u64) -> Result<(), (String, ErrorKind)> {
        self.spent += bytes;
        if self.spent > self.bytes {
            let most = self.bytes;
            return Err((format!("expected at most {most} bytes, found more"), ErrorKind::Invalid));
        }
        if self.since.elapsed() > self.time {
            let (spent, seconds) = (self.spent, self.time.as_secs_f64());
            let reason = format!("only {spent} bytes within {seconds} s");
            return Err((reason, ErrorKind::Unavailable));
        }
        Ok(())
    }
}

/// A connection to one server.
pub(crate) struct Http {
    access: HttpAccess,
    base: Url,
    client: Client,
}

impl Http {
    /// Prepares to ask. Asks nothing yet.
    pub fn new(access: &HttpAccess) -> Result<Self, HttpError> {
        let wrong = |reason: String| HttpError {
            doing: "preparing to ask".to_string(),
            url: access.url.clone(),
            reason,
            kind: ErrorKind::Invalid,
        };
        // What a path is joined to must end so, or its last part goes.
        let base = Url::parse(&format!("{}/", access.url.trim_end_matches('/')))
            .map_err(|e| wrong(format!("expected an address such as http://host:5000: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong(format!("expected http or https, found `{}`", base.scheme())));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(HttpError {
                doing: "preparing to ask".to_string(),
                url: base.host_str().unwrap_or_default().to_string(),
                reason: "expected an address without a login: a token is an option of its own"
                    .into(),
                kind: ErrorKind::Invalid,
            });
        }
        if access.timeout_ms == 0 {
            return Err(wrong("expected a timeout of 1 ms or more, found 0".to_string()));
        }
        let timeout = Duration::from_millis(access.timeout_ms);
        let mut client = Client::builder().timeout(timeout).connect_timeout(timeout);
        if !access.ca_file.as_os_str().is_empty() {
            client = client.tls_certs_only(authorities(&access.ca_file).map_err(wrong)?);
        }
        let client = client.build().map_err(|error| wrong(chain(&error)))?;
        Ok(Http { access: access.clone(), base, client })
    }

    /// Asks for JSON.
    pub fn get<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, HttpError> {
        let text = self.bytes(doing, self.request(doing, Method::GET, path, query)?)?;
        serde_json::from_slice(&text).map_err(|error| {
            let reason = format!("its answer is not what was asked: {error}");
            self.error(doing, reason, ErrorKind::Invalid)
        })
    }

    /// Sends JSON: what is answered.
    pub fn post(&self, doing: &str, path: &str, body: Vec<u8>) -> Result<Vec<u8>, HttpError> {
        let request = self.request(doing, Method::POST, path, &[])?;
        self.bytes(doing, request.header("content-type", "application/json").body(body))
    }

    /// Writes an answer to a file as it comes, within what is left of the budget.
    pub fn download(
        &self,
        doing: &str,
        path: &str,
        to: &Path,
        budget: &mut Budget,
    ) -> Result<(), HttpError> {
        let request = self.request(doing, Method::GET, path, &[])?;
        let mut answer = self.send(doing, request)?;
        let io = |error: io::Error| {
            let reason = format!("writing `{}`: {error}", to.display());
            self.error(doing, reason, ErrorKind::Unavailable)
        };
        let mut file = fs::File::create(to).map_err(io)?;
        let mut piece = vec![0; 1 << 16];
        loop {
            let read = answer.read(&mut piece).map_err(|error| self.broken_off(doing, &error))?;
            if read == 0 {
                return Ok(());
            }
            let spent = budget.spend(read as u64);
            spent.map_err(|(reason, kind)| self.error(doing, reason, kind))?;
            file.write_all(&piece[..read]).map_err(io)?;
        }
    }

    fn request(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, HttpError> {
        let mut url = self
            .base
            .join(path)
            .map_err(|error| self.error(doing, error.to_string(), ErrorKind::Invalid))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url);
        let token = self.access.token.reveal();
        Ok(if token.is_empty() { request } else { request.bearer_auth(token) })
    }

    fn bytes(&self, doing: &str, request: RequestBuilder) -> Result<Vec<u8>, HttpError> {
        let mut text = Vec::new();
        let mut answer = self.send(doing, request)?.take(ANSWER_BYTES_MAX + 1);
        answer.read_to_end(&mut text).map_err(|error| self.broken_off(doing, &error))?;
        if text.len() as u64 > ANSWER_BYTES_MAX {
            let reason =
                format!("expected an answer of at most {ANSWER_BYTES_MAX} bytes, found more");
            return Err(self.error(doing, reason, ErrorKind::Invalid));
        }
        Ok(text)
    }

    fn send(&self, doing: &str, request: RequestBuilder) -> Result<Response, HttpError> {
        let answer = request.send().map_err(|error| self.unreachable(doing, &error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => ErrorKind::Unavailable,
            status if status.is_client_error() => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        let told = answer.text().unwrap_or_default();
        Err(self.error(doing, format!("{status}{}", said(&told)), kind))
    }

    fn unreachable(&self, doing: &str, error: &reqwest::Error) -> HttpError {
        let reason = chain(error);
        if error.is_timeout() {
            let reason = format!("no answer within {} ms", self.access.timeout_ms);
            return self.error(doing, reason, ErrorKind::Unavailable);
        }
        // So rustls begins what is wrong with a certificate: reqwest has no name for it.
        let kind = match reason.contains("invalid peer certificate") {
            true => ErrorKind::Invalid,
            false => ErrorKind::Unavailable,
        };
        self.error(doing, reason, kind)
    }

    /// An answer that did not come to its end.
    fn broken_off(&self, doing: &str, error: &io::Error) -> HttpError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>()) {
            Some(error) => self.unreachable(doing, error),
            None => self.error(doing, chain(error), ErrorKind::Unavailable),
        }
    }

    pub fn error(&self, doing: &str, reason: String, kind: ErrorKind) -> HttpError {
        HttpError { doing: doing.to_string(), url: self.access.url.clone(), reason, kind }
    }
}

/// What a server's own JSON says went wrong, or the beginning of what it said instead.
fn said(text: &str) -> String {
    #[derive(Deserialize)]
    struct Said {
        #[serde(alias = "error")]
        message: String,
    }
    let said = serde_json::from_str::<Said>(text).map_or_else(|_| text.to_string(), |s| s.message);
    let said: String = said.trim().chars().take(300).collect();
    if said.is_empty() { said } else { format!(": {said}") }
}

/// What of a name may stand in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A name as a part of a path.
pub(crate) fn encoded(part: &str) -> String {
    utf8_percent_encode(part, PLAIN).to_string()
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, String> {
    let text = fs::read(file).map_err(|error| format!("reading `{}`: {error}", file.display()))?;
    Certificate::from_pem_bundle(&text)
        .map_err(|error| format!("reading `{}`: {}", file.display(), chain(&error)))
}

/// An error with what is behind it: reqwest's own words are few.
fn chain(error: &dyn std::error::Error) -> String {
    let mut texts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts.join(": ")
}
