//! A broker that is away, or hangs, while a job publishes.

use std::time::{Duration, Instant};

use tideflow::core::kafka::testing::TestBroker;

use super::job::{Job, LeftAlone};
use super::start::{Killed, Layout};
use super::view::{Inputs, View};

/// How long a transaction may be open.
const TRANSACTION_MS: u64 = 2_000;
/// Starts at most: each trouble costs one or two.
const STARTS_MAX: usize = 20;

/// What a broker suffers, and survives.
enum Trouble {
    Killed,
    /// For longer than a transaction may be open.
    Frozen,
    Stopped,
}

impl Trouble {
    fn happens(&self, broker: &mut TestBroker) {
        match self {
            Trouble::Killed => {
                broker.kill();
                broker.start_again();
            }
            Trouble::Frozen => {
                broker.freeze();
                let since = Instant::now();
                while since.elapsed() < Duration::from_millis(2 * TRANSACTION_MS) {
                    std::thread::park_timeout(Duration::from_millis(100));
                }
                broker.thaw();
            }
            Trouble::Stopped => {
                broker.stop();
                broker.start_again();
            }
        }
    }
}

/// Each trouble befalls the broker while the job publishes.
fn survives_all_troubles(broker: &mut TestBroker, job: &dyn Killed, layout: Layout) {
    let timeout = format!("--job.transaction_timeout_ms={TRANSACTION_MS}");
    let mut starts = 0;
    let mut start = || {
        starts += 1;
        assert!(starts <= STARTS_MAX, "{STARTS_MAX} starts, and none goes on");
        job.start_with(layout, &[&timeout], None)
    };
    let mut run = start();
    for trouble in [Trouble::Killed, Trouble::Frozen, Trouble::Stopped] {
        // A transaction that the brokers have ended ends the job, which is started again then.
        while !run.publishes() {
            run.end_badly();
            run = start();
        }
        let before = job.newest_manifest();
        trouble.happens(broker);
        run.wait_until("progress", || job.newest_manifest() > before || run.has_ended());
    }
    while run.end_however().iter().any(|code| *code != 0) {
        run = start();
    }
    job.check();
}

#[test]
fn fault_a_broker_killed_frozen_and_stopped_while_a_job_publishes_costs_no_result_and_doubles_none()
{
    let mut broker = TestBroker::start();
    let left_alone = LeftAlone::over(&broker, 600_000);
    let job = Job::over(&broker, &left_alone);
    survives_all_troubles(&mut broker, &job, (1, 2));
    drop(job);
    let inputs = Inputs::to(&broker);
    let view = View::over(&broker, &inputs);
    survives_all_troubles(&mut broker, &view, (2, 1));
}
