use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tideflow_core::kafka::Role;
use tideflow_core::kafka::testing::{TestBroker, unique_name};

use super::*;
use crate::kafka::shard::ShardProgress;
use crate::kafka::shard::job::{DEADLINE, Job, epoch, never, publish, sent, try_write, whole};

#[test]
fn what_is_committed_is_seen_once_and_what_is_aborted_never() {
    let job = Job::on(TestBroker::shared());
    let (mut owner, found) = job.recover(0, 1);
    assert_eq!(found, ShardProgress::default());
    let output = owner.topic(&job.output).unwrap();
    publish(&mut owner, &output, 1, 3_000).unwrap();
    owner.begin().unwrap();
    try_write(&mut owner, &output, 2, 3_000).unwrap();
    sent(&owner);
    owner.abort().unwrap();
    assert!(!owner.is_open());
    owner.begin().unwrap();
    try_write(&mut owner, &output, 3, 10).unwrap();
    let letter = Record { partition: 2, key: None, value: Some(b"letter") };
    let headers = [("error".to_string(), Some(b"late".to_vec()))];
    owner.produce_with_headers(&output, letter, &headers, never).unwrap();
    owner.commit(&[Note::Published(3)], never).unwrap();

    let seen = job.seen();
    let all = [whole(&[1], 3_000), whole(&[3], 10)].concat();
    assert_eq!(seen[&0], all);
    assert_eq!(seen[&2], [all, vec!["letter error".to_string()]].concat());
    assert_eq!(seen.len(), 2);
    assert_eq!(job.recover(0, 2).1, epoch(3));
}

#[test]
fn crash_an_owner_that_vanishes_leaves_what_it_committed_and_nothing_else() {
    let job = Job::on(TestBroker::shared());
    let mut generation = 1;
    let mut published = Vec::new();
    // Vanishes after: records sent, records taken, records and progress sent, a begin.
    for step in 0..4 {
        let (mut owner, found) = job.recover(1, generation);
        assert_eq!(found.epoch, published.last().copied());
        let output = owner.topic(&job.output).unwrap();
        publish(&mut owner, &output, 10 * generation, 100).unwrap();
        published.push(10 * generation);
        owner.begin().unwrap();
        if step != 3 {
            try_write(&mut owner, &output, 10 * generation + 1, 100).unwrap();
        }
        if step == 2 {
            let value = Note::Published(10 * generation + 1).encode(generation, 1);
            let progress = Record { partition: 1, key: None, value: Some(&value) };
            let records = [progress].into_iter();
            owner.producer.produce_batch(&owner.progress, records, never).unwrap();
        }
        if step != 1 {
            sent(&owner);
        }
        drop((owner, output));
        generation += 1;
    }
    let (_, found) = job.recover(1, generation);
    assert_eq!(found.epoch, published.last().copied());
    let seen = job.seen();
    assert_eq!(seen[&1], whole(&published, 100));
    assert_eq!(seen[&3], whole(&published, 100));
}

#[test]
fn fault_a_fenced_owner_is_told_so_at_once_and_publishes_nothing() {
    let job = Job::on(TestBroker::shared());
    // Fenced with nothing open, with records not sent yet, and with all but the progress sent.
    for step in 0..3 {
        let generation = 2 * step + 1;
        let mut old = job.fence(0, generation);
        let output = old.topic(&job.output).unwrap();
        publish(&mut old, &output, generation, 10).unwrap();
        if step > 0 {
            old.begin().unwrap();
        }
        if step == 2 {
            try_write(&mut old, &output, 99, 1_000).unwrap();
            sent(&old);
        }
        let since = Instant::now();
        let (_new, found) = job.recover(0, generation + 1);
        println!("fenced over step {step} in {:?}", since.elapsed());
        assert_eq!(found, epoch(generation));
        let since = Instant::now();
        let told = (|| {
            if step == 0 {
                old.begin()?;
            }
            try_write(&mut old, &output, 99, 1_000)?;
            old.commit(&[Note::Published(99)], never)
        })();
        let took = since.elapsed();
        println!("told after {took:?}");
        let error = told.unwrap_err();
        assert!(matches!(error, ShardError::Superseded { .. }), "{error}");
        assert!(error.to_string().ends_with("another process"), "{error}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        // And it stays that way.
        let error = old.commit(&[], never).unwrap_err();
        assert!(matches!(error, ShardError::Superseded { .. }), "{error}");
    }
    assert_eq!(job.recover(0, 7).1, epoch(5));
    assert_eq!(job.seen()[&0], whole(&[1, 3, 5], 10));
}

#[test]
fn fault_an_owner_fenced_in_the_middle_of_its_work_is_told_within_seconds() {
    let job = Job::on(TestBroker::shared());
    let mut old = job.fence(0, 1);
    let output = old.topic(&job.output).unwrap();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let (last, found, took) = std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            for epoch in 1.. {
                let ended = publish(&mut old, &output, epoch, 2_000).err();
                if let Some(error) = ended {
                    assert!(matches!(error, ShardError::Superseded { .. }), "{error}");
                    return (epoch - 1, Instant::now());
                }
                assert!(!stop.load(Ordering::Relaxed), "it goes on");
                done.store(epoch, Ordering::Relaxed);
            }
            unreachable!()
        });
        let deadline = Instant::now() + DEADLINE;
        while done.load(Ordering::Relaxed) < 5 {
            assert!(Instant::now() < deadline && !working.is_finished());
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let (_new, found) = job.recover(0, 2);
        let since = Instant::now();
        while !working.is_finished() {
            if since.elapsed() > Duration::from_secs(20) {
                stop.store(true, Ordering::Relaxed);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let (last, at) = working.join().unwrap();
        (last, found, at.saturating_duration_since(since))
    });
    println!("told {took:?} after the sentinel; epoch {last}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // The commit that was under way may have come through without an answer.
    let through = found.epoch.unwrap_or(0);
    assert!((last..=last + 1).contains(&through), "{last} {through}");
    assert_eq!(job.seen()[&2], whole(&(1..=through).collect::<Vec<_>>(), 2_000));
}

#[test]
fn fault_a_transaction_that_the_brokers_have_ended_is_not_committed_and_its_owner_is_told_why() {
    let job = Job::on(TestBroker::shared());
    let config = ShardConfig { timeout_ms: 2_000, ..job.config(0, 1) };
    let mut owner = Shard::fence(&job.kafka, &config, never).unwrap();
    let output = owner.topic(&job.output).unwrap();
    publish(&mut owner, &output, 1, 10).unwrap();
    owner.begin().unwrap();
    try_write(&mut owner, &output, 2, 100).unwrap();
    sent(&owner);
    // What another writes behind it is read once the brokers have ended it, and not before.
    let mut other = job.fence(1, 1);
    let same = other.topic(&job.output).unwrap();
    other.begin().unwrap();
    let behind = Record { partition: 0, key: None, value: Some(b"behind") };
    other.produce_batch(&same, [behind].into_iter(), never).unwrap();
    other.commit(&[Note::Published(1)], never).unwrap();
    let read = [whole(&[1], 10), vec!["behind".to_string()]].concat();
    let deadline = Instant::now() + DEADLINE;
    while job.seen()[&0] != read {
        assert!(Instant::now() < deadline, "{:?}", job.seen());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let error = owner.commit(&[Note::Published(2)], never).unwrap_err();
    assert!(matches!(error, ShardError::Superseded { .. }), "{error}");
    assert!(
        error.to_string().contains("its transaction ended by the brokers: open for"),
        "{error}"
    );
    assert_eq!((&job.seen()[&0], job.recover(0, 2).1), (&read, epoch(1)));
}

#[test]
fn shards_do_not_wait_for_each_other() {
    let job = Job::on(TestBroker::shared());
    let (mut one, mut other) = (job.fence(0, 1), job.fence(1, 1));
    let output = (one.topic(&job.output).unwrap(), other.topic(&job.output).unwrap());
    one.begin().unwrap();
    try_write(&mut one, &output.0, 1, 100).unwrap();
    sent(&one);
    for epoch in 1..=3 {
        publish(&mut other, &output.1, epoch, 100).unwrap();
    }
    let seen = job.seen();
    assert_eq!((seen.get(&0), &seen[&1]), (None, &whole(&[1, 2, 3], 100)));
    assert_eq!(job.recover(1, 2).1, epoch(3));
    one.commit(&[Note::Published(1)], never).unwrap();
    assert_eq!(job.seen()[&0], whole(&[1], 100));
}

/// rdkafka's own flush works in slices of 100 ms, each to its end: a transaction would take at least one.
#[test]
fn a_commit_does_not_wait_for_a_slice_of_a_flush_to_end() {
    let job = Job::on(TestBroker::shared());
    let mut owner = job.fence(0, 1);
    let output = owner.topic(&job.output).unwrap();
    let quickest = (1..=50).map(|epoch| {
        let since = Instant::now();
        publish(&mut owner, &output, epoch, 50).unwrap();
        since.elapsed()
    });
    let quickest = quickest.min().expect("some");
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

#[test]
fn fault_a_batch_that_is_given_up_is_never_committed() {
    let job = Job::on(TestBroker::shared());
    let config = job.config(0, 1);
    let (id, timeout_ms) = (config.transactional_id.as_str(), config.timeout_ms);
    let role = Role::Transactional { id, timeout_ms, linger_ms: 1_000, queue_kb_max: 65_536 };
    let mut client = job.kafka.client(role).unwrap();
    client.set("queue.buffering.max.messages", "300");
    let mut owner = Shard::fence_as(client, &job.kafka, &config).unwrap();
    let output = owner.topic(&job.output).unwrap();
    owner.begin().unwrap();
    let record = Record { partition: 0, key: None, value: Some(b"x") };
    let records = std::iter::repeat_n(record, 10_000);
    let error = owner.produce_batch(&output, records, || true).unwrap_err();
    assert!(matches!(&error, ShardError::Aborted { reason, .. } if reason.starts_with("given up")));
    assert!(!owner.is_open());
    assert!(job.seen().is_empty());
}

#[test]
fn fault_a_record_that_cannot_be_written_aborts_the_transaction() {
    let job = Job::on(TestBroker::shared());
    for (partition, size) in [(7, 1), (0, 2_000_000)] {
        let mut owner = job.fence(0, 1);
        let output = owner.topic(&job.output).unwrap();
        owner.begin().unwrap();
        try_write(&mut owner, &output, 1, 10).unwrap();
        sent(&owner);
        let value = vec![0; size];
        let record = Record { partition, key: None, value: Some(&value) };
        let error = owner.produce_batch(&output, [record].into_iter(), never).unwrap_err();
        assert!(
            matches!(&error, ShardError::Aborted { reason, .. } if reason.contains(&job.output)),
            "{error}"
        );
    }
    // The transactions that were left behind are gone with the next owner.
    job.fence(0, 2);
    assert!(job.seen().is_empty());
}

#[test]
fn fault_what_cannot_be_taken_over_is_named() {
    let job = Job::on(TestBroker::shared());
    let fence = |kafka: &KafkaConfig, config| Shard::fence(kafka, &config, never).err().unwrap();
    let error = fence(&job.kafka, job.config(2, 1));
    assert!(error.to_string().contains("has 2 partitions, none for this shard"), "{error}");
    let missing = ShardConfig { progress_topic: unique_name("none"), ..job.config(0, 1) };
    let error = fence(&job.kafka, missing);
    assert!(matches!(error, ShardError::Kafka(KafkaError::TopicMissing { .. })), "{error}");
    let long = ShardConfig { timeout_ms: 1_000_000, ..job.config(0, 1) };
    let error = fence(&job.kafka, long);
    assert!(matches!(error, ShardError::TimeoutTooLong { timeout_ms: 1_000_000, .. }), "{error}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = KafkaConfig {
        connect_timeout_ms: 800,
        ..KafkaConfig::plaintext(format!("127.0.0.1:{port}"))
    };
    let error = fence(&nobody, job.config(0, 1));
    assert!(matches!(error, ShardError::Kafka(KafkaError::Unreachable { .. })), "{error}");
}

#[test]
fn fault_a_broker_killed_in_a_transaction_leaves_all_of_it_or_nothing() {
    let mut broker = TestBroker::start();
    let job = Job::on(&broker);
    let (mut owner, _) = job.recover(0, 1);
    let output = owner.topic(&job.output).unwrap();
    publish(&mut owner, &output, 1, 1_000).unwrap();
    // Killed with records sent and more on their way; committed while the broker is away.
    owner.begin().unwrap();
    try_write(&mut owner, &output, 2, 1_000).unwrap();
    sent(&owner);
    broker.kill();
    let (ended, took) = std::thread::scope(|scope| {
        let committing = scope.spawn(|| {
            let since = Instant::now();
            let ended = owner.commit(&[Note::Published(2)], never);
            (ended, since.elapsed())
        });
        broker.start_again();
        committing.join().unwrap()
    });
    println!("{took:?}: {ended:?}");
    let through = agreed(&job, 2, 1, ended);

    // Killed at any step of the work.
    let mut owner = job.fence(0, 3);
    let output = owner.topic(&job.output).unwrap();
    let enough = AtomicBool::new(false);
    let (last, ended) = std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            for epoch in through + 1.. {
                let ended = publish(&mut owner, &output, epoch, 1_000);
                if ended.is_err() || enough.load(Ordering::Relaxed) {
                    return (epoch, ended);
                }
            }
            unreachable!()
        });
        broker.kill();
        broker.start_again();
        enough.store(true, Ordering::Relaxed);
        working.join().unwrap()
    });
    println!("epoch {last}: {ended:?}");
    assert!(last > through);
    agreed(&job, 4, last - 1, ended);
}

/// The last epoch of shard 0, which is `before` or, as far as that may be, the one after it; records
/// and progress agree on it.
fn agreed(job: &Job, generation: u64, before: u64, ended: Result<(), ShardError>) -> u64 {
    let (_new, found) = job.recover(0, generation);
    let through = found.epoch.unwrap();
    match ended {
        Ok(()) => assert_eq!(through, before + 1),
        Err(ShardError::Aborted { .. }) => assert_eq!(through, before),
        Err(ShardError::Unknown { .. }) => assert!((before..=before + 1).contains(&through)),
        Err(other) => panic!("{other}"),
    }
    let seen = job.seen();
    assert!(seen[&0] == whole(&(1..=through).collect::<Vec<_>>(), 1_000));
    assert!(seen[&2] == seen[&0]);
    through
}
