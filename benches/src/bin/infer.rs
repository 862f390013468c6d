//! What the operator that scores makes of a model, in memory, on one worker with one thread beside it:
//! `infer FOLDER ROWS_A_CALL RATE SECONDS`. ROWS_A_CALL 0 leaves that number to the operator.
//!
//! With RATE 0 rows come as fast as they are taken: prints how many a second are scored. With another, so many
//! rows a second are due whatever the operator does, and the run lasts until each has its score: prints how long
//! after it was due it had it, in milliseconds, p50 and p99 of all rows, and the same where nothing scores. The
//! first fifth is left out.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tideflow::core::timely::Config;
use tideflow::core::timely::dataflow::operators::Inspect;
use tideflow::core::{
    Batch, Check, EventTime, Job, LogOnly, Part, PartState, RecentBindings, Source, SourceSpec,
    SourceStart, execute,
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

/// Rows for so long: so many a second, or as fast as they are taken.
#[derive(Clone)]
struct Rows<S> {
    rate: u64,
    limit: Duration,
    /// When the whole graph was there, and the source was asked first.
    began: Arc<OnceLock<Instant>>,
    of: PhantomData<S>,
}

struct Reader<S> {
    rows: Rows<S>,
    next: u64,
}

impl<S> Rows<S> {
    fn new(rate: u64, limit: Duration) -> Self {
        Rows { rate, limit, began: Arc::default(), of: PhantomData }
    }

    /// How many have been due, of which so many were taken; and whether that is all.
    fn due(&self, taken: u64) -> (u64, bool) {
        let elapsed = self.began.get_or_init(Instant::now).elapsed();
        let due = match self.rate {
            0 if elapsed < self.limit => u64::MAX,
            0 => taken,
            rate => (elapsed.min(self.limit).as_secs_f64() * rate as f64) as u64,
        };
        (due, elapsed >= self.limit)
    }
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
        let waker = start.waker;
        // Whatever is due is there within a fifth of a millisecond; where all is, it need not be said.
        let pause = Duration::from_micros(if self.rate > 0 { 200 } else { 100_000 });
        thread::spawn(move || {
            while waker.activate().is_ok() {
                thread::park_timeout(pause);
            }
        });
        Ok(Reader { rows: self, next: 0 })
    }
}

impl<S: Shape> Source for Reader<S> {
    type Item = Numbered<S>;

    fn poll(&mut self, batch: &mut Batch<Numbered<S>>) -> bool {
        let (due, _) = self.rows.due(self.next);
        let to = due.min(self.next + Batch::<Numbered<S>>::RECORDS as u64);
        batch.items.extend((self.next..to).map(|number| Numbered { number, of: PhantomData }));
        batch.bytes += (to - self.next) as usize * 8 * S::NAMES.len();
        self.next = to;
        to < due
    }

    fn cut(&mut self, _: i64, parts: &mut Vec<Part>) {
        let (due, all) = self.rows.due(self.next);
        let state = match all && self.next == due {
            true => PartState::Ended,
            false => PartState::Active,
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

/// When rows were seen: for each batch, in order, the number behind its last row, and the time.
type Seen = Vec<(u64, Instant)>;

/// Runs until all rows are seen: with their scores, or as they came where nothing scores.
fn run<S: Shape>(rows: &Rows<S>, model: Option<(ModelRef, InferOptions)>) -> Result<Seen> {
    let seen = Arc::new(Mutex::new(Seen::new()));
    let (rows, ours) = (rows.clone(), seen.clone());
    let single = model.as_ref().is_some_and(|(_, options)| options.batch_rows == Some(1));
    let graph = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("rows", rows.clone())?;
        let seen = ours.clone();
        let see = move |numbers: &mut dyn Iterator<Item = u64>| {
            let now = Instant::now();
            let mut seen = seen.lock().expect("nobody panics with it");
            let mut next = seen.last().map_or(0, |(next, _)| *next);
            for number in numbers {
                assert_eq!(number, next, "each row comes out once, in order");
                next += 1;
            }
            seen.push((next, now));
        };
        // The clock waits for what was seen, as it does for a sink.
        match &model {
            Some(model) => {
                let scored = numbers.infer("model", model)?.scored.into_timely();
                flow.hold_until(scored.inspect_core(move |event| {
                    let batch = event.into_iter().flat_map(|(_, batch)| batch);
                    see(&mut batch.map(|scored| scored.of.number));
                }));
            }
            None => flow.hold_until(numbers.into_timely().inspect_core(move |event| {
                let batch = event.into_iter().flat_map(|(_, batch)| batch);
                see(&mut batch.map(|numbered| numbered.number));
            })),
        }
        Ok(())
    };
    let bindings = LogOnly::new(RecentBindings::new(10));
    let mut job = Job::default();
    if single {
        // The run ends when the last row that is in flight is seen: it need not be many.
        job.epochs.bytes_max = 1 << 17;
    }
    execute(Config::thread(), &job, bindings, |_| (), graph)?;
    let seen = std::mem::take(&mut *seen.lock().expect("nobody panics with it"));
    ensure!(!seen.is_empty(), "no row was scored: expected more SECONDS");
    Ok(seen)
}

/// Rows a second, without the first fifth of the time.
fn rows_a_second<S>(seen: &[(u64, Instant)], rows: &Rows<S>) -> Result<f64> {
    let (began, limit) = (rows.began.get().expect("it has run"), rows.limit);
    let within = |(_, at): &&(u64, Instant)| (limit / 5..limit).contains(&(*at - *began));
    let mut seen = seen.iter().filter(within);
    let (Some((from, since)), Some((to, until))) = (seen.next(), seen.next_back()) else {
        bail!("fewer than two batches: expected more SECONDS");
    };
    Ok((to - from) as f64 / (*until - *since).as_secs_f64())
}

/// Milliseconds after they were due, p50 and p99, without the first fifth of the rows.
fn delays<S>(seen: &[(u64, Instant)], rows: &Rows<S>) -> (f64, f64) {
    let began = *rows.began.get().expect("it has run");
    let due = |n: u64| began + Duration::from_secs_f64((n + 1) as f64 / rows.rate as f64);
    let (mut delays, mut next) = (Vec::new(), 0);
    for (to, at) in seen {
        let late = |n| at.saturating_duration_since(due(n)).as_secs_f64() * 1e3;
        delays.extend((next..*to).map(late));
        next = *to;
    }
    let mut delays = delays.split_off(delays.len() / 5);
    delays.sort_by(f64::total_cmp);
    (delays[delays.len() / 2], delays[delays.len() * 99 / 100])
}

fn measure<S: Shape>(model: (ModelRef, InferOptions), rate: u64, limit: Duration) -> Result<Value> {
    let rows = Rows::<S>::new(rate, limit);
    let seen = run(&rows, Some(model))?;
    if rate == 0 {
        return Ok(json!({ "rows_per_s": rows_a_second(&seen, &rows)? }));
    }
    let (p50, p99) = delays(&seen, &rows);
    let rows = Rows::<S>::new(rate, limit);
    let (without_p50, without_p99) = delays(&run(&rows, None)?, &rows);
    Ok(json!({
        "p50_ms": p50,
        "p99_ms": p99,
        "without_p50_ms": without_p50,
        "without_p99_ms": without_p99,
    }))
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, rows, rate, seconds] = args.as_slice() else {
        bail!("expected FOLDER ROWS_A_CALL RATE SECONDS");
    };
    let manifest = Manifest::read(folder.as_ref())?;
    let rows: usize = rows.parse().context("ROWS_A_CALL: expected a number")?;
    let rate = rate.parse().context("RATE: expected a number")?;
    let limit = Duration::from_secs_f64(seconds.parse().context("SECONDS: expected a number")?);
    let batch_rows = (rows > 0).then_some(rows);
    let options = InferOptions { batch_rows, ..InferOptions::default() };
    let model = (ModelRef::folder(folder, None, Runtime::InProcess), options);
    let mut found = match manifest.features.len() {
        10 => measure::<Small>(model, rate, limit)?,
        784 => measure::<Large>(model, rate, limit)?,
        other => bail!("a model of {other} features: expected 10 or 784"),
    };
    found["batch_rows"] = batch_rows.unwrap_or(manifest.batch_rows).into();
    println!("{found}");
    Ok(())
}
