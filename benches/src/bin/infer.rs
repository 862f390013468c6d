//! What the operator that scores makes of a model, in memory, on one worker with one thread beside it:
//! `infer FOLDER ROWS_A_CALL RATE SECONDS`.
//!
//! With RATE 0 rows come as fast as they are taken: prints how many a second are scored. With another, so many
//! rows a second come whatever the operator does: prints how long after it was due a row has its score, in
//! milliseconds, p50 and p99, and the same where nothing scores.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tideflow::core::timely::Config;
use tideflow::core::timely::dataflow::operators::Inspect;
use tideflow::core::{
    Batch, Check, Ending, EventTime, Job, LogOnly, Part, PartState, RecentBindings, Source,
    SourceSpec, SourceStart, execute,
};
use tideflow::models::{Manifest, Runtime};
use tideflow::operators::InferOptions;
use tideflow::prelude::*;
use tideflow_benches::pixels;

/// What a row is made of.
trait Shape: Clone + Send + Sync + 'static {
    const NAMES: &'static [&'static str];
}

/// Ten numbers.
#[derive(Clone)]
struct Small;

impl Shape for Small {
    const NAMES: &'static [&'static str] =
        &["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9"];
}

/// 784 numbers.
#[derive(Clone)]
struct Large;

impl Shape for Large {
    const NAMES: &'static [&'static str] = pixels::NAMES;
}

/// A row, by its number.
#[derive(Clone, Serialize, Deserialize)]
struct Numbered<S> {
    number: u64,
    #[serde(skip)]
    of: PhantomData<S>,
}

/// Where rows of numbers come from: copied, as from a record that holds them.
static NUMBERS: [f64; 1_024] = {
    let mut numbers = [0.0; 1_024];
    let mut n = 0;
    while n < 1_024 {
        numbers[n] = (n * 37 % 1_000) as f64 / 1_000.0;
        n += 1;
    }
    numbers
};

impl<S: Shape> Features for Numbered<S> {
    const NAMES: &'static [&'static str] = S::NAMES;

    fn row(&self, row: &mut Vec<f64>) {
        let from = self.number as usize % (NUMBERS.len() - S::NAMES.len());
        row.extend_from_slice(&NUMBERS[from..][..S::NAMES.len()]);
    }
}

/// Rows without end: so many a second, or as fast as they are taken.
#[derive(Clone)]
struct Rows<S> {
    rate: u64,
    began: Instant,
    of: PhantomData<S>,
}

struct Reader<S> {
    rows: Rows<S>,
    next: u64,
    stop: tideflow::core::Stop,
}

impl<S: Shape> SourceSpec for Rows<S> {
    type Source = Reader<S>;

    fn about(&self) -> String {
        "rows".to_string()
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, start: SourceStart) -> Result<Reader<S>, BuildError> {
        let (stop, waker) = (start.job.stop.clone(), start.waker);
        // Whatever is due is there within a fifth of a millisecond.
        thread::spawn(move || {
            while waker.activate().is_ok() {
                thread::park_timeout(Duration::from_micros(200));
            }
        });
        Ok(Reader { rows: self, next: 0, stop })
    }
}

impl<S: Shape> Source for Reader<S> {
    type Item = Numbered<S>;

    fn poll(&mut self, batch: &mut Batch<Numbered<S>>) -> bool {
        let most = Batch::<Numbered<S>>::RECORDS as u64;
        let due = match self.rows.rate {
            0 => self.next + most,
            rate => (self.rows.began.elapsed().as_secs_f64() * rate as f64) as u64,
        };
        let to = due.min(self.next + most);
        batch.items.extend((self.next..to).map(|number| Numbered { number, of: PhantomData }));
        batch.bytes += (to - self.next) as usize * 8 * S::NAMES.len();
        self.next = to;
        self.rows.rate == 0
    }

    fn cut(&mut self, _: i64, parts: &mut Vec<Part>) {
        let state = match self.stop.asked() {
            Ending::No => PartState::Active,
            _ => PartState::Ended,
        };
        let (source, watermark) = ("rows".to_string(), EventTime(0));
        parts.push(Part {
            source,
            partition: 0,
            from: Some(0),
            next: self.next as i64,
            watermark,
            state,
        });
    }

    fn replayed(&self) -> u64 {
        0
    }
}

/// When rows were seen, by their numbers.
type Seen = Arc<Mutex<Vec<(u64, Instant)>>>;

/// Runs for so long: when each row was scored, or came where nothing scores.
fn run<S: Shape>(
    rows: Rows<S>,
    model: Option<(ModelRef, InferOptions)>,
    limit: Duration,
) -> Result<Vec<(u64, Instant)>> {
    let seen = Seen::default();
    let (job, ours) = (Job::default(), seen.clone());
    let stop = job.stop.clone();
    let timer = thread::spawn(move || {
        let until = Instant::now() + limit;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        stop.ask(Ending::Suspend);
    });
    let graph = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("rows", rows.clone())?;
        let seen = ours.clone();
        let see = move |numbers: &mut dyn Iterator<Item = u64>| {
            let now = Instant::now();
            seen.lock().expect("nobody panics with it").extend(numbers.map(|n| (n, now)));
        };
        match &model {
            Some(model) => {
                let scored = numbers.infer("model", model)?.scored.into_timely();
                scored.inspect_core(move |event| {
                    let batch = event.into_iter().flat_map(|(_, batch)| batch);
                    see(&mut batch.map(|scored| scored.of.number));
                });
            }
            None => {
                numbers.into_timely().inspect_core(move |event| {
                    let batch = event.into_iter().flat_map(|(_, batch)| batch);
                    see(&mut batch.map(|numbered| numbered.number));
                });
            }
        }
        Ok(())
    };
    execute(Config::thread(), &job, LogOnly::new(RecentBindings::new(10)), |_| (), graph)?;
    timer.join().expect("it does not panic");
    let seen = std::mem::take(&mut *seen.lock().expect("nobody panics with it"));
    Ok(seen)
}

/// Rows a second, without the first fifth.
fn throughput(seen: &[(u64, Instant)]) -> f64 {
    let rest = &seen[seen.len() / 5..];
    let (first, last) = (rest[0].1, rest[rest.len() - 1].1);
    let within = rest.iter().filter(|(_, at)| *at > first).count();
    within as f64 / (last - first).as_secs_f64()
}

/// Milliseconds after they were due, p50 and p99, without the first fifth.
fn delays<S>(seen: &[(u64, Instant)], rows: &Rows<S>) -> (f64, f64) {
    let due = |n: u64| rows.began + Duration::from_secs_f64(n as f64 / rows.rate as f64);
    let rest = seen[seen.len() / 5..].iter();
    let mut delays: Vec<f64> =
        rest.map(|(n, at)| at.saturating_duration_since(due(*n)).as_secs_f64() * 1e3).collect();
    delays.sort_by(f64::total_cmp);
    (delays[delays.len() / 2], delays[delays.len() * 99 / 100])
}

fn measure<S: Shape>(folder: &str, rows_a_call: usize, rate: u64, limit: Duration) -> Result<()> {
    let options = InferOptions { batch_rows: Some(rows_a_call), ..InferOptions::default() };
    let model = (ModelRef::folder(folder, None, Runtime::InProcess), options);
    // Opened before the first row is due.
    model.0.current()?;
    let rows = || Rows::<S> { rate, began: Instant::now(), of: PhantomData };
    if rate == 0 {
        let seen = run(rows(), Some(model), limit)?;
        println!("{{\"rows_per_s\":{:.0}}}", throughput(&seen));
        return Ok(());
    }
    let (with, without) = (rows(), rows());
    let (p50, p99) = delays(&run(with.clone(), Some(model), limit)?, &with);
    let without = Rows { began: Instant::now(), ..without };
    let (without_p50, without_p99) = delays(&run(without.clone(), None, limit)?, &without);
    println!(
        "{{\"p50_ms\":{p50:.2},\"p99_ms\":{p99:.2},\"without_p50_ms\":{without_p50:.2},\"without_p99_ms\":{without_p99:.2}}}"
    );
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, rows, rate, seconds] = args.as_slice() else {
        bail!("expected FOLDER ROWS_A_CALL RATE SECONDS");
    };
    let manifest = Manifest::read(folder.as_ref())?;
    let rows = rows.parse().context("ROWS_A_CALL: expected a number")?;
    let rate = rate.parse().context("RATE: expected a number")?;
    let limit = Duration::from_secs_f64(seconds.parse().context("SECONDS: expected a number")?);
    match manifest.features.len() {
        10 => measure::<Small>(folder, rows, rate, limit),
        784 => measure::<Large>(folder, rows, rate, limit),
        other => bail!("a model of {other} features: expected 10 or 784"),
    }
}
