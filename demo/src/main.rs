//! The demo as a program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tideflow::cluster::logs;
use tideflow::cluster::settings::Inputs;
use tideflow::cluster::signals::{Leaving, StopWatch};
use tideflow::cluster::{LogConfig, LogFormat, panic};
use tideflow::core::{Ending, Stop, current_operator};
use tideflow::models::{ModelRef, Runtime};
use tideflow_demo::fleet::{
    FleetOptions, HealthyWindows, Summary, run, troubled_fleet, write_windows,
};
use tideflow_demo::real::{self, Recording, read_nab, read_skab, write_training};
use tideflow_demo::{Screen, Surroundings, left_behind};

/// From the first Ctrl-C to the end of the process.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(
    name = "demo",
    version,
    about = "Tideflow's demo: `make demo` and `make demo-real` call it."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Simulate a fleet with faults and run `device_health` on it.
    Run(Run),
    /// Write the windows of a healthy fleet as JSON lines, to train the model on.
    Windows(Windows),
    /// Replay recorded machines and hold alarms against labelled anomalies.
    Real(Real),
    /// Write the windows that the recorded machines' models may learn from.
    RealWindows(RealWindows),
}

#[derive(Args)]
struct Run {
    /// The folder of the health model.
    #[arg(long)]
    model: String,
    /// How long the fleet sends, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    duration: u64,
    /// Devices.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// Readings a second. The model is trained for ten a second for each device.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The seed of the fleet: readings, faults and noise follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kafka brokers to use, `host:port`, in place of one in this process.
    #[arg(long)]
    brokers: Option<String>,
    /// The port of the Prometheus page; another is taken where it is in use.
    #[arg(long, default_value_t = 9464)]
    metrics_port: u16,
}

#[derive(Args)]
struct Windows {
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
    /// Devices.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// Minutes of event time.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// The seed of the fleet; another than the demo's, so that the model meets strangers there.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

#[derive(Args)]
struct Recorded {
    /// A folder with NAB's two temperature series and `windows.json`.
    #[arg(long)]
    nab: PathBuf,
    /// A folder with SKAB's experiments in `other/`.
    #[arg(long)]
    skab: Option<PathBuf>,
}

#[derive(Args)]
struct Real {
    #[command(flatten)]
    recorded: Recorded,
    /// A recording's model, `NAME=FOLDER`; once for each.
    #[arg(long)]
    model: Vec<String>,
    /// The folder for what the plots show.
    #[arg(long)]
    out: PathBuf,
    /// Kafka brokers to use, `host:port`, in place of one in this process.
    #[arg(long)]
    brokers: Option<String>,
}

#[derive(Args)]
struct RealWindows {
    #[command(flatten)]
    recorded: Recorded,
    /// The folder to write to.
    #[arg(long)]
    out: PathBuf,
}

impl Recorded {
    fn read(&self) -> anyhow::Result<Vec<Recording>> {
        let mut recordings = read_nab(&self.nab)?;
        if let Some(folder) = &self.skab {
            recordings.extend(read_skab(folder)?);
        }
        Ok(recordings)
    }
}

fn main() -> ExitCode {
    panic::install(current_operator);
    let outcome = match Cli::parse().command {
        Command::Run(options) => run_fleet(options),
        Command::Windows(options) => windows(options),
        Command::Real(options) => replay(options),
        Command::RealWindows(options) => real_windows(options),
    };
    if let Err(error) = &outcome {
        eprintln!("demo: {error:#}");
    }
    ExitCode::from(code(&outcome))
}

/// The process' exit code: 0 only where all went well and, after a run, the counts add up.
fn code(outcome: &anyhow::Result<Option<Summary>>) -> u8 {
    match outcome {
        Ok(summary) => u8::from(summary.as_ref().is_some_and(|summary| !summary.accounted)),
        Err(_) => 1,
    }
}

/// Watches for Ctrl-C. A process that must leave at once says what it leaves behind.
fn watch(stop: &Stop, ending: Ending) -> anyhow::Result<StopWatch> {
    let words = |why| match why {
        Leaving::TooLate => format!(", leaving{}", left_behind()),
        Leaving::AskedTwice => left_behind(),
    };
    StopWatch::with_words(stop.clone(), ending, STOP_TIME_MAX, words).context("watching for Ctrl-C")
}

fn around(brokers: Option<String>) -> Surroundings {
    Surroundings { brokers, env: Inputs::of_process().env }
}

fn run_fleet(options: Run) -> anyhow::Result<Option<Summary>> {
    logs::install(&LogConfig { level: "warn".into(), format: LogFormat::Text })?;
    let stop = Stop::default();
    let _watch = watch(&stop, Ending::Drain)?;
    let duration = Duration::from_secs(options.duration);
    let fleet = troubled_fleet(options.devices, options.rate, duration, options.seed);
    let options = FleetOptions {
        fleet,
        model: ModelRef::folder(&options.model, None, Runtime::InProcess),
        around: around(options.brokers),
        metrics_port: options.metrics_port,
    };
    run(options, &stop, &mut Screen::stdout()).map(Some)
}

fn windows(options: Windows) -> anyhow::Result<Option<Summary>> {
    let Windows { out, devices, minutes, seed } = options;
    let wanted = HealthyWindows { devices, minutes, seed };
    let count = write_windows(&wanted, &around(None), &out)?;
    println!("{count} healthy windows of {devices} devices in {}", out.display());
    Ok(None)
}

fn replay(options: Real) -> anyhow::Result<Option<Summary>> {
    logs::install(&LogConfig { level: "warn".into(), format: LogFormat::Text })?;
    let stop = Stop::default();
    let _watch = watch(&stop, Ending::Suspend)?;
    let Real { recorded, model, out, brokers } = options;
    let pair = |text: &String| {
        let (name, folder) = text.split_once('=')?;
        Some((name.to_string(), ModelRef::folder(folder, None, Runtime::InProcess)))
    };
    let models: Option<_> = model.iter().map(pair).collect();
    let models = models.context("`--model` is not `NAME=FOLDER`")?;
    let recordings = recorded.read()?;
    real::run(&recordings, &models, &around(brokers), &out, &stop, &mut Screen::stdout())?;
    Ok(None)
}

fn real_windows(options: RealWindows) -> anyhow::Result<Option<Summary>> {
    write_training(&options.recorded.read()?, &options.out)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_0_only_where_all_went_well_and_the_counts_add_up() {
        let run = |accounted| Ok(Some(Summary { accounted, ..Summary::default() }));
        assert_eq!(code(&run(true)), 0);
        assert_eq!(code(&run(false)), 1);
        assert_eq!(code(&Ok(None)), 0);
        assert_eq!(code(&Err(anyhow::anyhow!("no broker"))), 1);
    }
}
