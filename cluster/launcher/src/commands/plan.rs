//! What `up` would change.

use std::process::ExitCode;

use super::wanted::Wanted;
use super::{ANSWER_TIME, Context, LaunchError, between, bring};
use crate::fleet::FleetError;
use crate::release;
use crate::wire::{Ask, Checked};

/// Shows what would change. With `check`, the new program also looks at what it needs, on the first host; it
/// is sent there for that.
pub(super) fn plan(context: &mut Context, check: bool) -> Result<ExitCode, LaunchError> {
    let processes = context.file.job.processes.unwrap_or(context.hosts.len());
    let wanted = Wanted::read(context, processes)?;
    let facts = context.facts(processes)?;
    let assigned: Vec<_> = (0..processes).map(|i| wanted.assigned(i)).collect();
    let all: Vec<_> = context.hosts.iter().zip(&facts).collect();
    let changes = between((&wanted.release, assigned.as_slice()), &all);
    let mut text: String = changes.iter().map(|change| format!("{change}\n")).collect();
    if changes.is_empty() {
        text = "nothing to change\n".into();
    }
    let mut code = ExitCode::SUCCESS;
    if check {
        let number = facts.iter().flat_map(|f| &f.releases).map(|n| release::number(n)).max();
        let there = (facts[0].releases.as_slice(), number.unwrap_or(0) + 1);
        let checked = checked(context, &wanted, there)?;
        text += &format!("\nwhat the new program found on {}:\n", context.hosts[0].name);
        checked.lines.iter().for_each(|line| text += &format!("  {line}\n"));
        if checked.code != 0 {
            code = ExitCode::FAILURE;
        }
    }
    super::print(&text)?;
    Ok(code)
}

fn checked(
    context: &Context,
    wanted: &Wanted,
    there: (&[String], u64),
) -> Result<Checked, LaunchError> {
    let host = &context.hosts[0];
    let checked = bring::send_to(context, wanted, host, there).and_then(|name| {
        let placement = Some(Box::new(wanted.placement(0)));
        let timeout_ms = context.timeout_ms();
        let ask = Ask::Check { release: Some(name), placement, timeout_ms };
        context.courier.ask(host, ask, context.deadline + ANSWER_TIME)
    });
    checked.map_err(|error| {
        let failed = vec![(host.name.clone(), error.to_string())];
        FleetError { step: "check".into(), failed, of: 1 }.into()
    })
}
