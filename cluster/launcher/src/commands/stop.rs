//! Stops all processes, and removes what the launcher has brought.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Context, LaunchError, bring};
use crate::fleet;
use crate::wire::Ask;

/// Stops all processes well.
pub(super) fn stop(context: &Context) -> Result<ExitCode, LaunchError> {
    bring::stop(context, &context.hosts)?;
    super::print(&format!("nothing runs on {} hosts\n", context.hosts.len()))
}

/// Stops, and removes the job's folder on each host.
pub(super) fn down(context: &Context) -> Result<ExitCode, LaunchError> {
    bring::stop(context, &context.hosts)?;
    let kept = fleet::step("remove", &context.hosts, |host| {
        context.ask::<Option<PathBuf>>(host, Ask::Remove)
    })?;
    let mut text = String::new();
    for (host, kept) in context.hosts.iter().zip(kept) {
        let Some(kept) = kept else { continue };
        text += &format!("{}: `{}` stays, the process wrote into it\n", host.name, kept.display());
    }
    text += "the job is gone from its hosts; its state and its topics are where its settings put them\n";
    super::print(&text)
}
