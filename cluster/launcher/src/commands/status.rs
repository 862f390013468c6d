//! A table of all processes.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::table::table as columns;
use super::{Context, LaunchError};
use crate::clock;
use crate::cluster_file::Host;
use crate::courier::CallError;
use crate::fleet;
use crate::wire::{Ask, State, Status};

/// How often the table is drawn anew.
const EVERY: Duration = Duration::from_secs(2);

/// A host, and how its process is.
pub(super) type Row = (Host, Result<Status, CallError>);

/// Shows each process.
pub(super) fn status(
    context: &Context,
    watch: bool,
    as_json: bool,
) -> Result<ExitCode, LaunchError> {
    loop {
        let began = Instant::now();
        let answers = fleet::each(&context.hosts, |host| context.ask(host, Ask::Status));
        let rows: Vec<Row> = context.hosts.iter().cloned().zip(answers).collect();
        let text = match as_json {
            true => format!("{}\n", as_object(&context.file.job.name, &rows)),
            false => table(&rows),
        };
        let clear = if watch && std::io::stdout().is_terminal() { "\x1b[H\x1b[J" } else { "" };
        super::print(&format!("{clear}{text}"))?;
        if !watch {
            return Ok(code(&rows));
        }
        while began.elapsed() < EVERY {
            thread::park_timeout(EVERY.saturating_sub(began.elapsed()));
        }
    }
}

/// 1 where a host does not answer, or its process has ended in a way that no start mends.
fn code(rows: &[Row]) -> ExitCode {
    let good =
        |(_, status): &Row| status.as_ref().is_ok_and(|status| status.state != State::Failed);
    if rows.iter().all(good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The table of these processes, in the order of their indices.
pub(super) fn table(rows: &[Row]) -> String {
    let headings = ["process", "host", "generation", "epoch", "lag", "restarts", "uptime", "state"];
    let mut cells: Vec<_> = rows.iter().map(cells).collect();
    cells.sort_by_key(|(process, _)| process.unwrap_or(usize::MAX));
    let cells: Vec<_> = cells.into_iter().map(|(_, cells)| cells).collect();
    columns(&headings, &cells)
}

fn cells((host, status): &Row) -> (Option<usize>, Vec<String>) {
    let none = || "-".to_string();
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            let mut cells = vec![none(); 8];
            cells[1] = host.name.clone();
            cells[7] = format!("unknown: {error}");
            return (None, cells);
        }
    };
    let number = |number: Option<u64>| number.map_or_else(none, |number| number.to_string());
    let uptime = status.uptime_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    let state = match (status.state, status.ready) {
        (State::Running, Some(true)) => "running",
        (State::Running, _) => "starting",
        (State::Restarting, _) => "restarting",
        (State::Stopped, _) => "stopped",
        (State::Failed, _) => "failed",
        (State::Nothing, _) => "nothing",
    };
    let words = status.words.as_ref().map_or(String::new(), |words| format!(": {words}"));
    let cells = vec![
        number(status.process.map(|process| process as u64)),
        host.name.clone(),
        number(status.generation),
        number(status.epoch),
        number(status.lag),
        if status.process.is_some() { status.restarts.to_string() } else { none() },
        uptime.map_or_else(none, clock::shown),
        format!("{state}{words}"),
    ];
    (status.process, cells)
}

fn as_object(job: &str, rows: &[Row]) -> serde_json::Value {
    let hosts = rows.iter().map(|(host, status)| match status {
        Ok(status) => json!({ "host": host.name, "address": host.address, "status": status }),
        Err(error) => {
            json!({ "host": host.name, "address": host.address, "error": error.to_string() })
        }
    });
    json!({ "job": job, "hosts": hosts.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, status: Result<Status, CallError>) -> Row {
        (Host { name: name.into(), address: format!("{name}.example") }, status)
    }

    fn running() -> Status {
        Status {
            state: State::Running,
            process: Some(0),
            release: Some("1-abc".into()),
            ready: Some(true),
            generation: Some(7),
            epoch: Some(4_711),
            lag: Some(0),
            restarts: 2,
            uptime_ms: Some(61_000),
            words: None,
        }
    }

    #[test]
    fn golden_the_table_says_how_each_process_is() {
        let failed = Status {
            state: State::Failed,
            process: Some(1),
            ready: None,
            uptime_ms: None,
            words: Some("the process ended with code 2".into()),
            ..running()
        };
        let away = CallError::Failed("no route".into());
        let rows = [row("w3", Err(away)), row("w2", Ok(failed)), row("w1", Ok(running()))];
        let expected = "\
process  host  generation  epoch  lag  restarts  uptime  state
0        w1    7           4711   0    2         1m 1s   running
1        w2    7           4711   0    2         -       failed: the process ended with code 2
-        w3    -           -      -    -         -       unknown: no route
";
        assert_eq!(table(&rows), expected);
        let object = as_object("j", &rows);
        assert_eq!(object["hosts"][2]["status"]["state"], "running");
        assert_eq!(object["hosts"][0]["error"], "no route");
    }
}
