//! Makes, replaces and shows certificates.

use std::process::ExitCode;

use super::LaunchError;
use super::table::table;
use crate::args::{Args, CertsAction};
use crate::certs::Certs;
use crate::clock;
use crate::cluster_file::ClusterFile;

/// Does it. No host is touched: `up` brings certificates there.
pub(super) fn certs(args: &Args, action: CertsAction) -> Result<ExitCode, LaunchError> {
    let file = ClusterFile::read(&args.cluster)?;
    let certs = Certs::at(&file.certs);
    let made = match action {
        CertsAction::Show => return show(&certs),
        CertsAction::Make => certs.make(&file.job.name, &file.hosts.hosts(&file.folder)?)?,
        CertsAction::Rotate { ca } => {
            certs.rotate(&file.job.name, &file.hosts.hosts(&file.folder)?, ca)?
        }
    };
    if made.is_empty() {
        return super::print("nothing to make\n");
    }
    let made: String = made.iter().map(|made| format!("made {made}\n")).collect();
    super::print(&format!("{made}`tideflow up` brings them to the hosts\n"))
}

fn show(certs: &Certs) -> Result<ExitCode, LaunchError> {
    let rows: Vec<_> = certs
        .show()?
        .iter()
        .map(|shown| {
            let ends = clock::date(shown.until_ms);
            let file = shown.file.display().to_string();
            let days = shown.days_left().to_string();
            vec![shown.subject.clone(), shown.names.join(" "), ends, days, file]
        })
        .collect();
    super::print(&table(&["subject", "names", "ends", "days left", "file"], &rows))
}
