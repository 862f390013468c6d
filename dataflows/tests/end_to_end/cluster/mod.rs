//! A job on a cluster, as its operators run it: brought, watched, resized and taken down by `tideflow`, over hosts
//! that lose their processes and each other.

mod hosts;
mod ledger;
mod operator;

use std::time::{Duration, Instant};

use tideflow::core::kafka::testing::TestBroker;

use crate::crash::job::{Job, LeftAlone, OUTPUTS, inputs};
use crate::crash::start::Killed;
use crate::topics::{Input, Topics};
use hosts::Hosts;
use ledger::Ledger;
use operator::Cluster;

/// Readings that the job is given, a part of them before each step.
const READINGS: u64 = 1_000_000;
/// Parts of the readings.
const PARTS: usize = 16;
/// How long a host cannot reach the others.
const CUT: Duration = Duration::from_secs(30);
/// By when all processes have noticed.
const NOTICED: Duration = Duration::from_secs(4);

/// The readings that are still to be sent.
struct Feed {
    parts: std::vec::IntoIter<Vec<Input>>,
}

impl Feed {
    fn new() -> Feed {
        let all: Vec<_> = inputs(READINGS).collect();
        let parts = all.chunks(all.len().div_ceil(PARTS)).map(<[Input]>::to_vec);
        Feed { parts: parts.collect::<Vec<_>>().into_iter() }
    }

    /// Sends the next part.
    fn next(&mut self, topics: &Topics) {
        topics.send(self.parts.next().expect("there are as many parts as steps"));
    }

    fn rest(&mut self, topics: &Topics) {
        self.parts.by_ref().for_each(|part| topics.send(part));
    }
}

#[test]
fn oracle_a_cluster_that_loses_processes_and_hosts_publishes_every_result_once() {
    let hosts = Hosts::up(3);
    let broker = TestBroker::start_at(&hosts.machine());
    let left_alone = LeftAlone::over(&broker, READINGS);
    let mut topics = Topics::new(&broker, 4, OUTPUTS);
    topics.state = "/var/lib/tideflow-shared/state".into();
    let cluster = Cluster::new(&hosts, &topics, 2);
    let (mut feed, mut ledger) = (Feed::new(), Ledger::new(&left_alone, &topics, &cluster));

    ledger.step("plan", |_| {
        let plan = cluster.well(&["plan"]);
        for index in 0..2 {
            assert!(plan.contains(&hosts.host(index).0), "{plan}");
        }
    });
    feed.next(&topics);
    ledger.step("up", |ledger| {
        cluster.well(&["up"]);
        ledger.goes_on(0);
    });
    ledger.step("up again", |_| {
        let again = cluster.well(&["up"]);
        assert!(again.contains("nothing to change"), "{again}");
    });
    ledger.step("status and doctor", |_| {
        assert_eq!(cluster.states(), ["running", "running", "nothing"]);
        cluster.well(&["status"]);
        cluster.well(&["doctor"]);
    });
    for victim in [1, 0, 1] {
        feed.next(&topics);
        ledger.step(&format!("process {victim} killed"), |ledger| {
            let killed = ledger.now();
            cluster.kill(&hosts, victim);
            feed.next(&topics);
            ledger.recovers(killed);
        });
    }
    ledger.step("a host cut from the others", |ledger| {
        hosts.cut(1, "PEERS");
        std::thread::park_timeout(NOTICED);
        let (published, since) = (ledger.published(), Instant::now());
        feed.next(&topics);
        while since.elapsed() < CUT - NOTICED {
            std::thread::park_timeout(Duration::from_secs(1));
        }
        assert_eq!(ledger.published(), published, "published while one was cut off");
        hosts.heal(1);
        ledger.goes_on(published);
    });
    ledger.step("a host cut from everything", |ledger| {
        hosts.cut(0, "ALL");
        std::thread::park_timeout(NOTICED);
        let published = ledger.published();
        feed.next(&topics);
        std::thread::park_timeout(NOTICED);
        assert_eq!(ledger.published(), published, "published while one was cut off");
        hosts.heal(0);
        ledger.goes_on(published);
    });
    ledger.step("restart beside a host that is gone", |ledger| {
        hosts.cut(2, "ALL");
        let published = ledger.published();
        cluster.well(&["restart"]);
        feed.next(&topics);
        ledger.goes_on(published);
        assert_eq!(cluster.states(), ["running", "running", "unknown"]);
        hosts.heal(2);
    });
    ledger.step("other certificates", |ledger| {
        cluster.well(&["certs", "rotate", "--ca"]);
        let published = ledger.published();
        cluster.well(&["up"]);
        feed.next(&topics);
        ledger.goes_on(published);
    });
    for processes in ["3", "1"] {
        ledger.step(&format!("rescale {processes}"), |ledger| {
            cluster.well(&["rescale", processes]);
            let published = ledger.published();
            feed.next(&topics);
            ledger.goes_on(published);
        });
    }
    ledger.step("up with another setting", |ledger| {
        cluster.set("run.stop_timeout_ms = 20000\n");
        let published = ledger.published();
        cluster.well(&["up"]);
        feed.next(&topics);
        ledger.goes_on(published);
    });
    ledger.step("rollback", |ledger| {
        let published = ledger.published();
        cluster.well(&["rollback"]);
        feed.next(&topics);
        ledger.goes_on(published);
    });
    ledger.step("stop", |ledger| {
        cluster.well(&["stop"]);
        let published = ledger.published();
        feed.rest(&topics);
        assert_eq!(ledger.published(), published, "published by a job that was stopped");
        assert!(cluster.states().iter().all(|state| *state != "running"));
    });
    ledger.step("up with other settings, to the end", |_| {
        cluster.set("readings.until = \"end\"\n");
        cluster.well(&["up"]);
        cluster.ends();
    });
    ledger.step("down", |_| {
        cluster.well(&["down"]);
        for index in 0..3 {
            assert!(hosts.processes(index, "device_health").is_empty());
        }
    });
    let job = Job { left_alone: &left_alone, topics: topics.clone() };
    ledger.ends(job.difference());
}

#[test]
fn fault_a_host_that_cannot_take_a_job_says_why_and_takes_it_when_that_is_mended() {
    let hosts = Hosts::up(1);
    let broker = TestBroker::start_at(&hosts.machine());
    let mut topics = Topics::new(&broker, 1, 1);
    topics.state = "/var/lib/tideflow-shared/state".into();
    let cluster = Cluster::new(&hosts, &topics, 1);
    let refused = |args: &[&str], words: &str| {
        let ended = cluster.says(args);
        let said = ended.out.clone() + &ended.err;
        assert!(ended.code != 0 && said.contains(words), "{args:?}, expected {words}: {ended:?}");
    };
    let known = format!("known_hosts = {:?}", hosts.file("known_hosts"));
    let others = format!("known_hosts = {:?}", hosts.file("id_ed25519.pub"));
    let before = cluster.change(&known, &others);
    refused(&["up"], "its host key is not known");
    cluster.write(&before);
    cluster.change("[job]", "[jop]");
    refused(&["up"], "`job`");
    cluster.write(&before);

    hosts.run(0, "mount -t tmpfs -o size=2m tmpfs /opt/tideflow");
    refused(&["up"], "make room, or set `place.folder` to a larger disk");
    hosts.run(0, "umount /opt/tideflow");

    let listens = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 9464, Listen => 1) or die; sleep 600";
    hosts.run(0, &format!("setsid -f perl -e '{listens}' > /dev/null 2>&1 < /dev/null"));
    refused(&["doctor"], "9464");
    refused(&["up"], "9464");
    for id in hosts.processes(0, "perl") {
        hosts.run(0, &format!("kill {id}"));
    }

    let read_only = |command: &str| {
        hosts.run(0, "mount -t tmpfs -o ro tmpfs /var/lib/tideflow-shared");
        refused(&[command], "Read-only file system");
        hosts.run(0, "umount /var/lib/tideflow-shared");
    };
    read_only("up");
    cluster.well(&["up"]);
    assert_eq!(cluster.states(), ["running"]);
    // What runs here is asked what it would find now.
    cluster.well(&["stop"]);
    read_only("doctor");
    cluster.well(&["up"]);
    cluster.well(&["down"]);
}
