//! The smallest binary on the process shell: no graph, only what the shell asks of one. The tests
//! of the shell run it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use tideflow_cluster::http::Pages;
use tideflow_cluster::{
    Finding, GraphFormat, GraphSpec, Question, RunFailure, Runner, Setup, main_with,
};
use tideflow_core::{
    Backtest, CheckFailure, Ending, ErrorKind, OperatorName, Secret, Stop, current_operator,
};

const PROBE: GraphSpec = GraphSpec {
    name: "probe",
    about: "Does nothing, in several ways",
    version: "1.2.3",
    defaults: &[include_str!("probe.toml")],
    model: Some(|text| vec![("probe.act", text.to_string())]),
};

#[derive(Debug, Deserialize)]
struct Sections {
    probe: ProbeConfig,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbeConfig {
    act: String,
    checks: u8,
    share: f64,
    names: Vec<String>,
    api_token: Secret,
    extra: BTreeMap<String, String>,
}

struct Probe;

impl Runner for Probe {
    type Config = Sections;

    fn current_operator() -> Option<&'static str> {
        current_operator()
    }

    fn check(&self, setup: &Setup<Sections>) -> Vec<Finding> {
        let kinds = [ErrorKind::Unavailable, ErrorKind::Invalid, ErrorKind::Fatal];
        let finding = |(i, kind): (u8, ErrorKind)| Finding {
            what: format!("thing {i}"),
            outcome: match setup.config.probe.act.as_str() {
                "fail" => Err(CheckFailure { kind, message: format!("found {kind:?}") }),
                _ => Ok("there".into()),
            },
        };
        (1..=setup.config.probe.checks).zip(kinds).map(finding).collect()
    }

    fn describe(&self, setup: &Setup<Sections>, format: GraphFormat) -> Result<String, RunFailure> {
        let ProbeConfig { share, names, extra, .. } = &setup.config.probe;
        Ok(format!("{format:?} {share} {names:?} {extra:?}\n"))
    }

    fn answer(
        &self,
        _: &Setup<Sections>,
        question: &Question,
        out: &mut dyn Write,
    ) -> Result<(), RunFailure> {
        writeln!(out, "{question:?}")
            .map_err(|error| RunFailure { kind: ErrorKind::Fatal, message: error.to_string() })
    }

    fn pages(&self, setup: &Setup<Sections>) -> Pages {
        let secret = format!("{:?}", setup.config.probe.api_token);
        Pages {
            metrics: Box::new(move || format!("probe_token_shown{{as=\"{secret}\"}} 1\n")),
            ready: Box::new(|| Ok(())),
        }
    }

    fn run(&self, setup: &Setup<Sections>, stop: &Stop) -> Result<(), RunFailure> {
        tracing::info!(config = ?setup.config.probe, "running");
        match setup.config.probe.act.as_str() {
            "wait" => {
                while stop.asked() == Ending::No {
                    thread::park_timeout(Duration::from_millis(5));
                }
                tracing::info!(ending = ?stop.asked(), "told to stop");
            }
            "hang" => loop {
                thread::park();
            },
            "panic" => {
                let work = || panic!("{} broke", "something");
                let _: Result<(), _> = OperatorName::new("scores").spawn(work).join();
            }
            "fail" => {
                let message = "the broker went away".into();
                return Err(RunFailure { kind: ErrorKind::Unavailable, message });
            }
            _ => {}
        }
        Ok(())
    }

    fn replay(
        &self,
        setup: &Setup<Sections>,
        backtest: &Backtest,
        _: &Stop,
    ) -> Result<Option<String>, RunFailure> {
        let (from, to) = (backtest.from.date(), backtest.to.date());
        Ok(Some(format!("{} {from} {to}\n", setup.config.probe.act)))
    }
}

fn main() -> ExitCode {
    main_with(&PROBE, &Probe)
}
