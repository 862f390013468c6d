use tideflow_core::kafka::delete_records;
use tideflow_core::kafka::testing::TestBroker;

use super::*;
use crate::kafka::shard::ShardError;
use crate::kafka::shard::job::{Job, epoch, never, publish};

#[test]
fn the_last_manifest_before_the_sentinel_counts() {
    let job = Job::on(TestBroker::shared());
    let manifest = |generation, epoch| Manifest {
        generation,
        epoch,
        name: format!("manifest/{generation:010}-{epoch:020}"),
    };
    let (mut owner, _) = job.recover(0, 1);
    for epoch in [3, 6] {
        owner.begin().unwrap();
        let notes = [Note::Published(epoch), Note::Manifest(manifest(1, epoch - 1))];
        owner.commit(&notes, never).unwrap();
    }
    owner.begin().unwrap();
    owner.commit(&[Note::Manifest(manifest(1, 6))], never).unwrap();
    let (_new, found) = job.recover(0, 2);
    assert_eq!(
        found,
        ShardProgress {
            epoch: Some(6),
            manifests: vec![manifest(1, 5), manifest(1, 6)],
            needed_from: 0
        }
    );
}

#[test]
fn what_an_older_generation_commits_behind_the_sentinel_is_not_read() {
    let job = Job::on(TestBroker::shared());
    let (mut first, _) = job.recover(0, 1);
    let output = first.topic(&job.output).unwrap();
    publish(&mut first, &output, 7, 1).unwrap();
    let (mut second, found) = job.recover(0, 2);
    assert_eq!(found, epoch(7));
    // A slow start of the first generation takes the id back: the last to initialise wins.
    let mut zombie = job.fence(0, 1);
    zombie.begin().unwrap();
    zombie.commit(&[Note::Published(99)], never).unwrap();
    assert_eq!(job.read(0, 2).unwrap(), epoch(7));
    second.begin().unwrap();
    let error = second.commit(&[Note::Published(8)], never).unwrap_err();
    assert!(matches!(error, ShardError::Superseded { .. }), "{error}");
    // Whoever starts with a number below that of one at work finds it out, if he has not before.
    zombie.commit_sentinel(never).unwrap();
    assert_eq!(job.read(0, 1).unwrap(), ShardProgress::default(), "its own first sentinel");
    let (third, own) = (3, 2);
    job.recover(0, third);
    job.fence(1, own).commit_sentinel(never).unwrap();
    job.recover(1, third);
    job.fence(1, 1).commit_sentinel(never).unwrap();
    let error = job.read(1, 1).unwrap_err();
    assert!(matches!(error, ReadProgressError::Superseded { own: 1, found: 2, .. }), "{error}");
}

#[test]
fn a_trimmed_progress_is_read_from_where_it_begins() {
    let job = Job::on(TestBroker::shared());
    let (mut owner, _) = job.recover(0, 1);
    for epoch in [3, 5] {
        owner.begin().unwrap();
        owner.commit(&[Note::Published(epoch)], never).unwrap();
    }
    let manifest = Manifest { generation: 1, epoch: 4, name: "m".to_string() };
    owner.begin().unwrap();
    owner.commit(&[Note::Manifest(manifest.clone())], never).unwrap();
    let mut last = ShardProgress { epoch: Some(5), manifests: vec![manifest], needed_from: 0 };
    // Every record has the marker of its transaction behind it.
    for (generation, needed_from) in [(2, 4), (3, 4), (4, 6), (5, 12)] {
        let (mut owner, found) = job.recover(0, generation);
        assert_eq!(found, last);
        let found = read_progress(&job.kafka, &job.config(0, generation), 0, never).unwrap();
        assert_eq!(found.needed_from, needed_from);
        delete_records(&job.kafka, &job.progress, &[(0, needed_from)]).unwrap();
        if let 3 | 4 = generation {
            let epoch = 2 * generation;
            let manifest = Manifest { generation, epoch, name: format!("m{epoch}") };
            last.manifests.push(manifest.clone());
            // Of those that count a start may go on from the last two.
            last.manifests = last.manifests.split_off(last.manifests.len() - 2);
            last.epoch = Some(epoch + 1);
            owner.begin().unwrap();
            let notes = [Note::Manifest(manifest), Note::Published(epoch + 1)];
            owner.commit(&notes, never).unwrap();
        }
    }
    delete_records(&job.kafka, &job.progress, &[(0, 20)]).unwrap();
    job.fence(0, 6).commit_sentinel(never).unwrap();
    assert_eq!(job.read(0, 6).unwrap(), ShardProgress::default());
}

#[test]
fn epochs_that_are_published_twice_stop_the_recovery() {
    let job = Job::on(TestBroker::shared());
    let mut owner = job.fence(0, 1);
    for _ in 0..2 {
        owner.begin().unwrap();
        owner.commit(&[Note::Published(4)], never).unwrap();
    }
    owner.commit_sentinel(never).unwrap();
    let error = job.read(0, 1).unwrap_err().to_string();
    assert!(error.ends_with("offset 2: epoch 4 is published after 4"), "{error}");
}

#[test]
fn fault_reading_without_a_sentinel_ends() {
    let mut job = Job::on(TestBroker::shared());
    job.kafka.connect_timeout_ms = 500;
    let mut owner = job.fence(0, 1);
    owner.begin().unwrap();
    owner.commit(&[Note::Published(4)], never).unwrap();
    let error = job.read(0, 1).unwrap_err();
    assert!(matches!(error, ReadProgressError::NoSentinel { after_ms: 500, .. }), "{error}");
    let error = read_progress(&job.kafka, &job.config(0, 1), 0, || true).unwrap_err();
    assert!(matches!(error, ReadProgressError::GivenUp { .. }), "{error}");
}

#[test]
fn fault_a_generation_whose_number_another_start_had_is_told_so() {
    let job = Job::on(TestBroker::shared());
    let (mut first, _) = job.recover(0, 3);
    let output = first.topic(&job.output).unwrap();
    publish(&mut first, &output, 7, 1).unwrap();
    let mut second = job.fence(0, 3);
    let sentinel = second.commit_sentinel(never).unwrap();
    let error = read_progress(&job.kafka, &job.config(0, 3), sentinel, never).unwrap_err();
    assert!(matches!(error, ReadProgressError::Reused { own: 3, .. }), "{error}");
    let mut third = job.fence(0, 4);
    let sentinel = third.commit_sentinel(never).unwrap();
    let found = read_progress(&job.kafka, &job.config(0, 4), sentinel, never).unwrap();
    assert_eq!(found.epoch, Some(7));
}
