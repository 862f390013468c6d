//! Judges recordings: `detect --format skab|nab|cmapss --in DIR --out DIR`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::{Args, Parser, ValueEnum};
use tideflow::models::{ModelRef, Runtime};
use tideflow_dataflows::detect::{
    DetectError, Detected, Format, Label, Method, Pump, Recording, Series, Turbofan, detect,
    expect_apart, features, package_digest, read, train, write,
};

#[derive(Args)]
struct Input {
    /// What the recordings look like.
    #[arg(long, value_enum)]
    format: Name,
    /// The folder of the recordings: every `*.csv` below it; of C-MAPSS `train_FD001.txt` and `test_FD001.txt`.
    #[arg(long = "in", value_name = "DIR")]
    input: PathBuf,
    /// Worker threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    workers: u8,
}

/// Finds anomalies in recordings, and says how long engines last: row by row, never looking ahead.
#[derive(Parser)]
#[command(
    name = "detect",
    version,
    after_help = "Exit codes: 0 done, 1 some files are no recordings and left out, 2 refused, and nothing is written.\n\n\
                  `detect features` writes what models learn from; it has a --help of its own."
)]
struct Judge {
    #[command(flatten)]
    input: Input,
    /// The folder for the results: a file for each recording, under the same path; of C-MAPSS `rul.csv`.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The folder of the model. Without it one is trained first, as the format's protocol says: for SKAB on the
    /// first 400 rows of each recording, for C-MAPSS on `train_FD001.txt`, for NAB on generated series, once.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// Writes the features that a model learns from, as the graph computes them.
#[derive(Parser)]
#[command(name = "detect features")]
struct Write {
    #[command(flatten)]
    input: Input,
    /// The Parquet file.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Pumps with eight sensors, as the Skoltech Anomaly Benchmark has them.
    Skab,
    /// Single series, as the Numenta Anomaly Benchmark has them.
    Nab,
    /// Turbofan engines, as NASA's C-MAPSS FD001 has them.
    Cmapss,
}

/// Where the model of a series is kept, which is the same for all of them: with the digest of what made it.
const SERIES_MODEL: &str = ".tideflow/models/detect_nab";
const LIVES: &str = "train_FD001.txt";
const ENGINES: &str = "test_FD001.txt";

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let done = if args.get(1).is_some_and(|word| word == "features") {
        args.remove(1);
        write_features(&Write::parse_from(args)).map(|()| true)
    } else {
        judge_all(&Judge::parse_from(args))
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn write_features(Write { input, to }: &Write) -> anyhow::Result<()> {
    let rows = match input.format {
        Name::Skab => features_of::<Pump>(input, (Format::Skab, Label::Known), to)?,
        Name::Nab => features_of::<Series>(input, (Format::Nab, Label::None), to)?,
        Name::Cmapss => features_of::<Turbofan>(input, (Format::Cmapss, Label::Left), to)?,
    };
    println!("features of {rows} rows in {}", to.display());
    Ok(())
}

fn features_of<M: Method>(
    input: &Input,
    (format, label): (Format, Label),
    to: &Path,
) -> anyhow::Result<usize> {
    let (recordings, _) = read(format, &input.input, LIVES)?;
    Ok(features::<M>(&recordings, label, to, usize::from(input.workers))?)
}

/// Whether all files were recordings; those that were are judged.
fn judge_all(judge: &Judge) -> anyhow::Result<bool> {
    match judge.input.format {
        Name::Skab => judge_with::<Pump>(judge, Format::Skab),
        Name::Nab => judge_with::<Series>(judge, Format::Nab),
        Name::Cmapss => judge_with::<Turbofan>(judge, Format::Cmapss),
    }
}

fn judge_with<M: Method>(judge: &Judge, format: Format) -> anyhow::Result<bool> {
    let Judge { input, out, model } = judge;
    expect_apart(out, &input.input)?;
    let (recordings, unreadable) = read(format, &input.input, ENGINES)?;
    for Recording { name, missing, .. } in recordings.iter().filter(|r| r.missing > 0) {
        eprintln!(
            "`{}`: {missing} values are missing, the one before stands for each",
            name.display()
        );
    }
    let work = tempfile::tempdir().context("making a folder for a while")?;
    let folder = match model {
        Some(model) => Some(model.clone()),
        None => trained::<M>(input, format, work.path())?,
    };
    let since = Instant::now();
    let Detected { outcomes, failed } = match folder {
        Some(folder) => {
            let model = ModelRef::folder(&folder, None, Runtime::InProcess);
            detect::<M>(&recordings, model, usize::from(input.workers))?
        }
        None => Detected::default(),
    };
    ensure!(failed.is_empty(), "{} rows could not be judged: {}", failed.len(), failed[0]);
    write(format, out, &recordings, &outcomes)?;
    let rows: usize = recordings.iter().map(|recording: &Recording| recording.rows.len()).sum();
    let alarms = outcomes.iter().filter(|outcome| outcome.alarm).count();
    let seconds = since.elapsed().as_secs_f64();
    println!(
        "{} recordings, {rows} rows, {alarms} alarms in {seconds:.1} s; results in {}",
        recordings.len(),
        out.display()
    );
    let (left_out, files) = (unreadable.len(), unreadable.len() + recordings.len());
    if left_out > 0 {
        eprintln!("error: {left_out} of {files} files are no recordings, and left out:");
    }
    for error in unreadable {
        eprintln!("  {:#}", anyhow::Error::new(error));
    }
    Ok(left_out == 0)
}

/// Trains what the protocol trains: the model's folder; none where recordings of pumps end before they are calibrated,
/// and no row is judged.
fn trained<M: Method>(
    input: &Input,
    format: Format,
    work: &Path,
) -> anyhow::Result<Option<PathBuf>> {
    let kept = match format {
        Format::Nab => PathBuf::from(format!("{SERIES_MODEL}-{}", package_digest()?)),
        _ => PathBuf::new(),
    };
    if format == Format::Nab && kept.join("manifest.json").is_file() {
        eprintln!("with the model in `{}`; without it, another is trained", kept.display());
        return Ok(Some(kept));
    }
    if format == Format::Nab {
        eprintln!("training `{}`", M::RECIPE);
        train::<M>(None, &kept)?;
        return Ok(Some(kept));
    }
    let (data, model) = (work.join("features.parquet"), work.join("model"));
    // What is known of pumps is not for training.
    let label = if format == Format::Cmapss { Label::Left } else { Label::None };
    match features_of::<M>(input, (format, label), &data) {
        Err(error)
            if format == Format::Skab
                && matches!(error.downcast_ref(), Some(DetectError::TooShort)) =>
        {
            eprintln!("no recording goes on after its calibration: every row gets score 0");
            return Ok(None);
        }
        features => features?,
    };
    eprintln!("training `{}`", M::RECIPE);
    train::<M>(Some(&data), &model)?;
    Ok(Some(model))
}
