//! Stops all processes, and removes what the launcher has brought.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Context, LaunchError, bring};
use crate::fleet;
use crate::wire::Ask;

/// Stops all processes well.
pub(super) fn stop(context: &Context) -> Result<ExitCode, LaunchError> {
    let hosts = context.and_former();
    bring::stop(context, &hosts)?;
    super::print(&format!("nothing runs on {} hosts\n", hosts.len()))
}

/// Stops, and removes the job's folder on each host. What is not reached is told at the end.
pub(super) fn down(context: &Context) -> Result<ExitCode, LaunchError> {
    let hosts = context.and_former();
    let stopped = bring::try_stop(context, &hosts);
    let reached = hosts.iter().zip(&stopped).filter(|(_, stopped)| stopped.is_ok());
    let reached: Vec<_> = reached.map(|(host, _)| host.clone()).collect();
    let kept =
        fleet::step("remove", &reached, |host| context.ask::<Option<PathBuf>>(host, Ask::Remove))?;
    let mut text = String::new();
    for (host, kept) in reached.iter().zip(kept) {
        let Some(kept) = kept else { continue };
        text += &format!("{}: `{}` stays, the process wrote into it\n", host.name, kept.display());
    }
    super::print(&text)?;
    fleet::all("stop", &hosts, stopped)?;
    super::print(
        "the job is gone from its hosts; its state and its topics are where its settings put them\n",
    )
}
