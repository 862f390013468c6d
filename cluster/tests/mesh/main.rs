//! Processes meet, each a thread of this test, and lose each other.

mod certificates;
mod job;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tideflow_cluster::mesh::{MeetError, Meeting, check, meet};
use tideflow_core::{ErrorKind, Secret};

use certificates::Authority;
use job::{Process, addresses, all, facts, meeting, sums};

const DEADLINE: Duration = Duration::from_secs(60);

fn nobody() -> tideflow_cluster::mesh::OnLost {
    std::sync::Arc::new(|lost| panic!("nobody is lost: {lost:?}"))
}

/// What each of two processes says when they do not belong together: the first as it should be, the second not.
fn differ(change: impl Fn(&mut Process)) -> [MeetError; 2] {
    let addresses = addresses(2);
    let processes = [0, 1].map(|process| {
        let mut own = Process::new(&addresses, process);
        own.meeting.join_timeout = Duration::from_secs(2);
        if process == 1 {
            change(&mut own);
        }
        thread::spawn(move || meet(&own.meeting, &own.facts, nobody()).err().expect("they differ"))
    });
    processes.map(|process| process.join().expect("it does not panic"))
}

#[test]
fn oracle_what_processes_exchange_is_what_one_alone_would_have() {
    let authority = Authority::new("here");
    for encrypted in [false, true] {
        for processes in [2, 3] {
            let found = all(processes, |process| {
                if encrypted {
                    process.meeting.tls = Some(authority.files(process.meeting.process));
                }
            });
            assert_eq!(found, sums(processes), "{processes} processes, encrypted: {encrypted}");
        }
    }
}

#[test]
fn fault_processes_that_are_not_the_same_refuse_each_other_with_both_values() {
    // The one that connects is refused; the other says so, and waits for one that fits.
    let refused = |change: &dyn Fn(&mut Process), words: &str| {
        let [first, second] = differ(change);
        assert!(first.message.contains(words), "{first}, expected {words}");
        assert!(second.message.contains(words), "{second}, expected {words}");
        assert_eq!(first.kind, ErrorKind::Unavailable);
        second.kind
    };
    let invalid = ErrorKind::Invalid;
    let other = |p: &mut Process| p.facts.program = "cc".into();
    assert_eq!(refused(&other, "another program (its digest): aa in process 0"), invalid);
    let other = |p: &mut Process| p.facts.graph = "dd".into();
    assert_eq!(refused(&other, "another graph (its digest): bb in process 0"), invalid);
    let other = |p: &mut Process| p.facts.threads = 3;
    assert_eq!(refused(&other, "another `workers.threads`: 1 in process 0"), invalid);
    let other = |p: &mut Process| {
        p.facts.settings.insert("window.length_ms".into(), "30000".into());
    };
    assert_eq!(refused(&other, "`window.length_ms` is 60000 in process 0"), invalid);
    // Where a start comes between, it may be gone at the next try.
    let other = |p: &mut Process| p.facts.generation = Some(5);
    assert_eq!(refused(&other, "another generation in the state store"), ErrorKind::Unavailable);
}

#[test]
fn fault_who_does_not_belong_to_the_job_ends_itself_and_nobody_else() {
    let (here, there) = (Authority::new("here"), Authority::new("there"));
    let secured = |process: &mut Process| {
        process.meeting.tls = Some(here.files(process.meeting.process));
        process.meeting.token = Secret::new("the job's");
    };
    let missing = "not all processes of the job were there within 2000 ms";
    let refused = |change: &dyn Fn(&mut Process), words: &str| {
        let addresses = addresses(2);
        let processes = [0, 1].map(|number| {
            let mut own = Process::new(&addresses, number);
            own.meeting.join_timeout = Duration::from_secs(2);
            secured(&mut own);
            if number == 1 {
                change(&mut own);
            }
            thread::spawn(move || meet(&own.meeting, &own.facts, nobody()).err().expect("refused"))
        });
        let [first, second] = processes.map(|process| process.join().expect("it does not panic"));
        assert!(first.kind == ErrorKind::Unavailable && first.message.contains(missing), "{first}");
        assert!(second.kind == ErrorKind::Invalid && second.message.contains(words), "{second}");
    };
    refused(&|p| p.meeting.token = Secret::new("a guess"), "it has another `workers.token`");
    refused(&|p| p.meeting.token = Secret::default(), "it has another `workers.token`");
    refused(&|p| p.meeting.tls = Some(there.files(1)), "its certificate is of another authority");
    // Who trusts this authority, and shows a certificate of another.
    let shows = |p: &mut Process| {
        let (own, others) = (here.files(1), there.files(1));
        p.meeting.tls = Some(tideflow_cluster::mesh::TlsFiles { ca: own.ca, ..others });
    };
    refused(&shows, "it refuses this process's certificate");
}

#[test]
fn fault_one_that_is_not_encrypted_is_told_that_others_may_be() {
    let authority = Authority::new("here");
    let addresses = addresses(2);
    let processes = [0, 1].map(|number| {
        let mut own = Process::new(&addresses, number);
        own.meeting.join_timeout = Duration::from_secs(8);
        own.meeting.tls = (number == 0).then(|| authority.files(0));
        thread::spawn(move || meet(&own.meeting, &own.facts, nobody()).err().expect("they wait"))
    });
    let [_, second] = processes.map(|process| process.join().expect("it does not panic"));
    assert_eq!(second.kind, ErrorKind::Unavailable);
    let words =
        "it is there and says nothing: is `workers.ca_file` set for all processes, or for none?";
    assert!(second.message.ends_with(words), "{second}");
}

#[test]
fn fault_a_stranger_at_the_port_is_turned_away_and_the_processes_meet() {
    let addresses = addresses(2);
    let port = addresses[0].clone();
    let first = Process::new(&addresses, 0).start();
    let deadline = Instant::now() + DEADLINE;
    let mut strangers = Vec::new();
    for words in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\0\0\0\x02{}", b""] {
        let mut stranger = loop {
            match TcpStream::connect(&port) {
                Ok(stranger) => break stranger,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            thread::park_timeout(Duration::from_millis(20));
        };
        stranger.write_all(words).expect("somebody listens");
        strangers.push(stranger);
    }
    let second = Process::new(&addresses, 1).start();
    let found = [first, second].map(|process| process.join().expect("it runs to its end"));
    assert_eq!(found.to_vec(), sums(2));
}

#[test]
fn fault_a_stranger_who_says_a_little_now_and_then_is_not_listened_to_for_ever() {
    let addresses = addresses(2);
    let mut own = Process::new(&addresses, 0);
    own.meeting.join_timeout = Duration::from_secs(15);
    let waiting = thread::spawn(move || meet(&own.meeting, &own.facts, nobody()).err());
    let since = Instant::now();
    let mut stranger = loop {
        match TcpStream::connect(&addresses[0]) {
            Ok(stranger) => break stranger,
            Err(error) => assert!(since.elapsed() < DEADLINE, "{error}"),
        }
        thread::park_timeout(Duration::from_millis(20));
    };
    // The length of a message that never comes, and its bytes one by one.
    stranger.write_all(b"\0\0\x04\0").expect("somebody listens");
    while stranger.write_all(b" ").is_ok() {
        assert!(!waiting.is_finished(), "it was listened to until the meeting was over");
        thread::park_timeout(Duration::from_millis(200));
    }
    assert!(waiting.join().expect("no panic").is_some(), "nobody came");
}

#[test]
fn fault_processes_that_never_come_are_named() {
    let addresses = addresses(3);
    let mut own = Process::new(&addresses, 1);
    own.meeting.join_timeout = Duration::from_millis(300);
    let error = meet(&own.meeting, &own.facts, nobody()).err().expect("nobody comes");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let words = format!(
        "not all processes of the job were there within 300 ms (`workers.join_timeout_ms`): missing process 0 ({}): \
         Connection refused (os error 111); process 2 ({})",
        addresses[0], addresses[2]
    );
    assert_eq!(error.message, words);
}

#[test]
fn fault_a_taken_port_and_open_addresses_without_encryption_are_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let own = taken.local_addr().expect("bound").to_string();
    let lines = [own.clone(), "127.0.0.1:1".to_string()];
    let error = meet(&meeting(&lines, 0), &facts(2), nobody()).err().expect("it is taken");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let words = format!("cannot listen at `{own}` for the other processes: Address already in use");
    assert!(error.message.starts_with(&words), "{error}");

    let open = ["127.0.0.1:1".to_string(), "worker.example:2101".to_string()];
    let refused = |meeting: &Meeting| {
        let error = check(meeting).expect_err("it is open");
        assert_eq!(error.kind, ErrorKind::Invalid);
        error.message
    };
    let authority = Authority::new("here");
    let plain = Meeting { token: Secret::new("the job's"), ..meeting(&open, 0) };
    let tls = Some(authority.files(0));
    let without_token = Meeting { tls, token: Secret::default(), ..plain.clone() };
    let words = "`worker.example:2101` is not on loopback: such processes need ";
    let files = "`workers.ca_file`, `workers.certificate_file` and `workers.key_file`";
    assert_eq!(refused(&plain), format!("{words}{files}"));
    assert_eq!(refused(&without_token), format!("{words}`workers.token`"));
    let mut unreadable = authority.files(0);
    unreadable.key = "no/such/key.pem".into();
    let message = refused(&Meeting { tls: Some(unreadable), ..plain });
    assert!(message.starts_with("`no/such/key.pem`: "), "{message}");
}

#[test]
fn who_ends_with_a_reason_is_lost_with_it_and_who_is_done_is_not() {
    let addresses = addresses(3);
    let met: Vec<_> = (0..3).map(|number| Process::new(&addresses, number).meets()).collect();
    let mut met = met.into_iter().map(|process| process.join().expect("they meet"));
    let [zero, one, two] = [met.next(), met.next(), met.next()].map(|met| met.expect("three"));
    drop(one.mesh);
    let (workers, watch) = two.mesh.workers(1).expect("threads");
    watch.fail("the disk is full", false);
    // Its threads wait for a run that does not come.
    std::mem::forget(workers);
    let lost = zero.lost.recv_timeout(DEADLINE).expect("it is told");
    assert_eq!((lost.process, lost.why.as_str(), lost.superseded), (2, "the disk is full", false));
    assert_eq!(lost.name, format!("process 2 ({})", addresses[2]));
    assert!(zero.lost.try_recv().is_err(), "one that is done is not lost");
}

#[test]
fn fault_who_is_cut_off_is_lost_after_the_time_set_on_both_sides() {
    let addresses = addresses(2);
    // All that the second sends to the first goes through here, until it does not.
    let cut = job::Cable::to(&addresses[0]);
    let behind = [cut.address().to_string(), addresses[1].clone()];
    let first = Process::new(&addresses, 0).meets();
    let second = Process::new(&behind, 1).meets();
    let [first, second] = [first, second].map(|process| process.join().expect("they meet"));
    thread::park_timeout(Duration::from_secs(2));
    assert!(first.lost.try_recv().is_err() && second.lost.try_recv().is_err());
    let since = Instant::now();
    cut.cut();
    for (met, other) in [(&first, 1), (&second, 0)] {
        let lost = met.lost.recv_timeout(DEADLINE).expect("it is noticed");
        let words = "nothing heard of it for 1000 ms (`workers.lost_after_ms`)";
        assert_eq!((lost.process, lost.why.as_str()), (other, words));
    }
    assert!(since.elapsed() >= Duration::from_millis(800), "too soon: {:?}", since.elapsed());
}

#[test]
fn fault_who_closes_without_a_word_is_lost() {
    let addresses = addresses(2);
    let cut = job::Cable::to(&addresses[0]);
    let behind = [cut.address().to_string(), addresses[1].clone()];
    let processes = [Process::new(&addresses, 0).meets(), Process::new(&behind, 1).meets()];
    let [first, second] = processes.map(|process| process.join().expect("they meet"));
    cut.close();
    for met in [&first, &second] {
        let lost = met.lost.recv_timeout(DEADLINE).expect("it is noticed");
        assert_eq!(lost.why, "it has closed the connection");
    }
    let mut rest = String::new();
    // Nobody listens for others any more.
    assert!(
        TcpStream::connect(&addresses[0]).and_then(|mut s| s.read_to_string(&mut rest)).is_err()
    );
}
