//! Outputs: several topics at once, and more partitions while there is something to replay.

use std::collections::BTreeSet;
use std::time::Duration;

use tideflow::core::kafka::add_partitions;

use super::job::{Job, OUTPUTS};
use super::start::Killed;

/// How often a running job's outputs are looked at.
const LOOKS: usize = 25;

/// The windows that a topic has something of.
fn windows_on(job: &Job<'_>, topic: &str) -> BTreeSet<(String, i64)> {
    let of = |value: serde_json::Value| {
        let device = value["device"].as_str().expect("a device").to_owned();
        (device, value["window_start"].as_i64().expect("a time"))
    };
    job.topics.read(topic).iter().map(|sent| of(sent.json())).collect()
}

#[test]
fn what_an_epoch_says_on_several_topics_is_visible_together() {
    let job = Job::shared();
    let run = job.start((1, 2));
    run.must_publish();
    let (windows, scores) = (&job.topics.windows, &job.topics.scores);
    let mut seen = 0;
    for look in 0..LOOKS {
        // What is read first was visible first: nothing of it may be missing in what is read then.
        let (first, then) = if look % 2 == 0 { (windows, scores) } else { (scores, windows) };
        let (before, after) = (windows_on(&job, first), windows_on(&job, then));
        let missing = before.difference(&after).count();
        assert_eq!(missing, 0, "{look}: of {} on `{first}` on `{then}`", before.len());
        seen += usize::from(before.len() < after.len());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(seen > 2, "only {seen} of {LOOKS} looks had something new in between");
    run.end_well();
    job.check();
}

/// Each time one of two shards has published an epoch, and the other has not.
#[test]
fn crash_outputs_that_get_more_partitions_have_every_result_once() {
    let job = Job::shared();
    for kill in 1..4 {
        let run = job.start_with((1, 2), &[], Some((0, &format!("committed:{kill}"))));
        run.wait_until("a commit", || run.has_ended());
        assert_eq!(run.end()[0].code, -9);
        if kill == 1 {
            for topic in [&job.topics.windows, &job.topics.scores] {
                let added = add_partitions(&job.topics.kafka, topic, OUTPUTS + 1);
                added.unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
    job.start((1, 1)).end_well();
    job.check();
}
