//! Outputs that get more partitions while there is something to replay.

use tideflow::core::kafka::add_partitions;

use super::job::{Job, OUTPUTS};

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
