//! State in a bucket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::job::Job;
use super::start::Killed;
use crate::program::Metrics;
use crate::python::program;
use crate::topics::DEADLINE;

/// A server that speaks S3, with one bucket, killed when dropped.
struct Bucket {
    server: Child,
    address: String,
}

impl Bucket {
    const NAME: &str = "tideflow";

    fn start() -> Bucket {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("bound").to_string();
        let port = address.rsplit_once(':').expect("a port").1;
        drop(free);
        let server = Command::new(program("moto_server"))
            .args(["-H", "127.0.0.1", "-p", port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`make setup` installs it");
        let bucket = Bucket { server, address };
        let since = Instant::now();
        while !bucket.made().unwrap_or(false) {
            assert!(since.elapsed() < DEADLINE, "no bucket at {}", bucket.address);
            std::thread::park_timeout(Duration::from_millis(50));
        }
        bucket
    }

    fn made(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(&self.address)?;
        let (name, host) = (Self::NAME, &self.address);
        write!(
            stream,
            "PUT /{name} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }

    /// Has it answer nobody, or go on.
    fn signal(&self, name: &str) {
        let id = self.server.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {id}");
    }

    fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_string()),
            ("AWS_REGION", "eu-central-1".to_string()),
            ("AWS_ACCESS_KEY_ID", "test".to_string()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_string()),
        ]
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn crash_a_job_with_its_state_in_a_bucket_goes_on_from_there_and_publishes_every_result_once() {
    let bucket = Bucket::start();
    let mut job = Job::shared();
    job.topics.state = format!("s3://{}/jobs/of the fleet", Bucket::NAME);
    job.topics.environment = bucket.environment().to_vec();
    let newest = || {
        let listed = job.asks(&["ls"]).out;
        let snapshots = listed.lines().filter(|line| line.starts_with("0000"));
        snapshots.filter_map(|line| line.split_whitespace().next()).max().map(str::to_string)
    };
    for kill in 0..3 {
        let before = newest();
        let run = job.start((1 + kill % 2, 1));
        run.wait_until("a snapshot of its own", || newest() > before || run.has_ended());
        run.signal("KILL");
        run.end_badly();
    }
    // It answers nobody for a while: what is published does not wait for it.
    let run = job.start((1, 2));
    run.must_publish();
    bucket.signal("STOP");
    let process = &run.processes()[0];
    let published = |m: &Metrics| m.sum("tideflow_sink_records_total", &[]);
    let before = published(&process.metrics());
    process.wait_until("more published", |m| published(m) > before + 1_000.0);
    bucket.signal("CONT");
    run.end_well();
    job.check();
    let ended = job.asks(&["verify"]);
    ended.with_code(0);
}
