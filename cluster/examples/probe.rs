//! The smallest binary on the process shell: no graph, only what the shell asks of one. The tests
//! of the shell run it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use tideflow_cluster::http::Pages;
use tideflow_cluster::{Failure, Finding, GraphFormat, GraphSpec, Job, Runner, main_with};
use tideflow_core::{
    CheckFailure, Ending, ErrorKind, OperatorName, Secret, Stop, current_operator,
};

const PROBE: GraphSpec = GraphSpec {
    name: "probe",
    about: "Does nothing, in several ways",
    version: "1.2.3",
    section: "probe",
    defaults: &[include_str!("probe.toml")],
};

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
    type Config = ProbeConfig;

    fn current_operator() -> Option<&'static str> {
        current_operator()
    }

    fn check(&self, job: &Job<ProbeConfig>) -> Vec<Finding> {
        let kinds = [ErrorKind::Unavailable, ErrorKind::Invalid, ErrorKind::Fatal];
        let finding = |(i, kind): (u8, ErrorKind)| Finding {
            what: format!("thing {i}"),
            outcome: match job.config.act.as_str() {
                "fail" => Err(CheckFailure { kind, message: format!("found {kind:?}") }),
                _ => Ok("there".into()),
            },
        };
        (1..=job.config.checks).zip(kinds).map(finding).collect()
    }

    fn describe(&self, job: &Job<ProbeConfig>, format: GraphFormat) -> Result<String, Failure> {
        let ProbeConfig { share, names, extra, .. } = &job.config;
        Ok(format!("{format:?} {share} {names:?} {extra:?}\n"))
    }

    fn pages(&self, job: &Job<ProbeConfig>) -> Pages {
        let secret = format!("{:?}", job.config.api_token);
        Pages {
            metrics: Box::new(move || format!("probe_token_shown{{as=\"{secret}\"}} 1\n")),
            ready: Box::new(|| Ok(())),
        }
    }

    fn run(&self, job: &Job<ProbeConfig>, stop: &Stop) -> Result<(), Failure> {
        tracing::info!(config = ?job.config, "running");
        match job.config.act.as_str() {
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
                return Err(Failure { kind: ErrorKind::Unavailable, message });
            }
            _ => {}
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    main_with(&PROBE, &Probe)
}
