//! A run that goes on where another one was killed: what it publishes again is what was published, and
//! all of it together is what the bindings of both say.

use std::time::Duration;

use proptest::prelude::*;
use tideflow_core::{Binding, EpochSettings, EventTime, Flow, Job, execute, timely};
use tideflow_operators::{Alarms, Hysteresis, KeyBy, Map, Scored, Tumbling, Window};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

use super::killed::Killed;
use super::memory::Memory;
use super::shape::{self, Shape};
use super::{LENGTH_MS, Published, Reading, Values, histories, recompute};

fn shapes() -> impl Strategy<Value = Shape> {
    shape::shapes(1..50, 200..8_000, 1..8)
}

/// What a run published: windows and late records, and its alarms as texts, with the epoch of each.
type Out = (Published, Vec<(u64, String)>);

fn scored(of: Window<u64, Values>) -> Scored<Window<u64, Values>> {
    let score = of.value.0.summary().mean;
    Scored { of, score, others: Vec::new(), model: Default::default(), fallback: false }
}

fn run(history: &[Vec<Reading>], bound_ms: u64, shape: Shape, memory: &Memory) -> Out {
    let (windows, late, alarms) = (VecSink::new(), VecSink::new(), VecSink::new());
    let source = VecSource::new(history.to_vec())
        .out_of_orderness(Duration::from_millis(bound_ms))
        .chunk(shape.chunk);
    let epochs = EpochSettings {
        interval: Duration::from_millis(20),
        inflight_max: 3,
        bytes_max: shape.epoch_bytes,
        ..EpochSettings::default()
    };
    let job = Job { epochs, ..Job::default() };
    let sinks = (windows.clone(), late.clone(), alarms.clone());
    let graph = move |flow: &Flow<'_>| {
        let (readings, _) = flow.source("readings", source.clone())?;
        let length = Duration::from_millis(LENGTH_MS as u64);
        let windowed = readings
            .key_by(|r| &r.device)
            .tumbling_window::<_, Values>("windows", Tumbling::of(length))?;
        let when = Hysteresis::raise_above(5.0)
            .clear_below(-5.0)
            .for_at_least(2)
            .forget_after(Duration::from_millis(5 * LENGTH_MS as u64));
        let raised = windowed.on_time.clone().map("scores", scored)?.alarm("high", when)?;
        flow.sink("on time", windowed.on_time, sinks.0.clone())?;
        flow.sink("late", windowed.late, sinks.1.clone())?;
        flow.sink("alarms", raised, sinks.2.clone())
    };
    let config = timely::Config::process(shape.workers);
    let memory = memory.clone().snapshots_every(shape.snapshot_every);
    execute(config, &job, memory, |_| (), graph).expect("the graph runs");
    let published = Published::of(windows.take(), late.take());
    let mut alarms: Vec<_> =
        alarms.take().into_iter().map(|(e, a)| (e, format!("{a:?}"))).collect();
    alarms.sort();
    (published, alarms)
}

/// What of it lies in these epochs.
fn within(out: &Out, epochs: impl Fn(u64) -> bool) -> Out {
    let (Published { windows, late }, alarms) = out;
    let windows = windows.iter().filter(|(_, (e, _))| epochs(*e)).map(|(k, v)| (*k, v.clone()));
    let texts = |all: &[(u64, String)]| all.iter().filter(|(e, _)| epochs(*e)).cloned().collect();
    (Published { windows: windows.collect(), late: texts(late) }, texts(alarms))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn oracle_a_run_goes_on_from_any_snapshot_and_any_end_of_the_log(
        history in histories(),
        bound_ms in 0..250u64,
        first in shapes(),
        second in shapes(),
        (snapshot, killed) in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let memory = Memory::default();
        let before = run(&history, bound_ms, first, &memory);
        let Killed { resume, states, recorded } = Killed::of(&memory, snapshot, killed);
        let (state_of, last) = (resume.state_of(), resume.last());
        let memory = Memory::resume(resume, states);
        let after = run(&history, bound_ms, second, &memory);
        let again = |epoch| epoch > state_of && epoch <= last;
        prop_assert_eq!(within(&after, again), within(&before, again));

        let both: Vec<Binding> = recorded.into_iter().chain(memory.log()).collect();
        for part in both.iter().flat_map(|binding| &binding.parts) {
            let read = &history[part.partition as usize][..part.next as usize];
            let largest = read.iter().map(|r| EventTime(r.ts)).max().unwrap_or(EventTime::MIN);
            prop_assert_eq!(part.watermark, largest.minus(Duration::from_millis(bound_ms)));
        }
        let (whole, _) = within(&(recompute(&history, &both), Vec::new()), |e| e > state_of);
        prop_assert_eq!(after.0, whole);
    }
}
