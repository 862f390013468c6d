//! Parts that cannot start: the run ends with their error, whichever worker it is.

use std::time::Duration;

use tideflow_core::{
    Backtest, Batch, BuildError, Check, Epoch, ErrorKind, EventTime, Flow, Job, LogOnly, Part,
    RecentBindings, RunError, Sink, SinkSpec, SinkStart, Source, SourceSpec, SourceStart, execute,
    timely,
};

/// A part that does not start on one worker. As a source it is silent and has no end.
#[derive(Clone)]
struct Stubborn {
    on_worker: usize,
}

impl Stubborn {
    fn start(&self, name: &str, worker: usize) -> Result<Silent, BuildError> {
        let refused = || BuildError {
            operator: name.to_string(),
            kind: ErrorKind::Unavailable,
            source: "it is away".into(),
        };
        if worker == self.on_worker { Err(refused()) } else { Ok(Silent) }
    }
}

struct Silent;

impl SourceSpec for Stubborn {
    type Source = Silent;

    fn about(&self) -> String {
        "stubborn".to_string()
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, start: SourceStart) -> Result<Silent, BuildError> {
        Stubborn::start(&self, start.name.as_str(), start.worker)
    }
}

impl Source for Silent {
    type Item = u64;

    fn poll(&mut self, _batch: &mut Batch<u64>) -> bool {
        false
    }

    fn cut(&mut self, _wall_ms: i64, _parts: &mut Vec<Part>) {}

    fn replayed(&self) -> Epoch {
        0
    }
}

impl SinkSpec<u64> for Stubborn {
    type Sink = Silent;

    fn about(&self) -> String {
        "stubborn".to_string()
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, start: SinkStart<'_, '_>) -> Result<Silent, BuildError> {
        Stubborn::start(&self, start.name.as_str(), start.flow.worker().0)
    }
}

impl Sink<u64> for Silent {
    fn take(&mut self, _epoch: Epoch, items: &mut Vec<u64>) {
        items.clear();
    }

    fn close(&mut self, _epoch: Epoch) {}

    fn published(&mut self) -> Epoch {
        Epoch::MAX - 1
    }
}

/// Runs source to sink on two workers, of which one does not start one of them.
fn run(source: usize, sink: usize, backtest: Option<Backtest>) -> RunError {
    let build = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("source", Stubborn { on_worker: source })?;
        flow.sink("sink", numbers, Stubborn { on_worker: sink })
    };
    let mut job = Job { backtest, ..Job::default() };
    job.epochs.interval = Duration::from_millis(1);
    let log = LogOnly::new(RecentBindings::new(1));
    execute(timely::Config::process(2), &job, log, |_| (), build).expect_err("it cannot start")
}

const NOBODY: usize = usize::MAX;

#[test]
fn fault_a_part_that_cannot_start_ends_the_run_with_its_error() {
    for worker in [0, 1] {
        let errors = [(run(worker, NOBODY, None), "source"), (run(NOBODY, worker, None), "sink")];
        for (error, name) in errors {
            let RunError::Failed(error) = error else { panic!("another error: {error}") };
            assert_eq!(error.kind, ErrorKind::Unavailable);
            assert_eq!(error.to_string(), format!("`{name}`: it is away"));
        }
    }
}

#[test]
fn fault_a_sink_that_would_publish_in_a_backtest_is_refused() {
    let backtest = Backtest::new(EventTime(0), EventTime(1), "nowhere");
    let error = run(NOBODY, NOBODY, Some(backtest));
    let RunError::Failed(error) = error else { panic!("another error: {error}") };
    assert_eq!(error.kind, ErrorKind::Invalid);
    let told = "`sink`: a sink that knows no other place for its records: it cannot be replayed";
    assert_eq!(error.to_string(), told);
}
