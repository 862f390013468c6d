//! What files are called.

use std::fmt;

use tideflow_core::Epoch;

/// A file that no reader sees yet: an epoch's records, as one worker of one generation of a job wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pending {
    pub epoch: Epoch,
    pub generation: u64,
    pub worker: usize,
}

impl Pending {
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let (epoch, generation) = (long(parts.next()?)?, long(parts.next()?)?);
        let worker = plain(parts.next()?)?;
        parts.next().is_none().then_some(Pending { epoch, generation, worker })
    }

    /// What it is called when it is visible.
    pub fn visible(&self) -> Visible {
        Visible { epoch: self.epoch, worker: self.worker }
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:020}-{}", self.epoch, self.generation, self.worker)
    }
}

/// A file of a job that takes snapshots, as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visible {
    pub epoch: Epoch,
    pub worker: usize,
}

impl Visible {
    pub fn parse(name: &str) -> Option<Self> {
        let (epoch, worker) = name.strip_suffix(LINES)?.split_once('-')?;
        Some(Visible { epoch: long(epoch)?, worker: plain(worker)? })
    }
}

impl fmt::Display for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{}{LINES}", self.epoch, self.worker)
    }
}

/// A file of a job that keeps nothing, whose epochs begin anew with each start: it has its run's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfRun {
    pub run: u64,
    pub epoch: Epoch,
    pub worker: usize,
}

impl OfRun {
    pub fn parse(name: &str) -> Option<Self> {
        let Pending { epoch: run, generation: epoch, worker } =
            Pending::parse(name.strip_suffix(LINES)?)?;
        Some(OfRun { run, epoch, worker })
    }
}

impl fmt::Display for OfRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:020}-{}{LINES}", self.run, self.epoch, self.worker)
    }
}

/// A worker's folder for what a run of a job that keeps nothing has not written to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunFolder {
    pub run: u64,
    pub worker: usize,
}

impl RunFolder {
    pub fn parse(name: &str) -> Option<Self> {
        let (run, worker) = name.strip_prefix(RUN)?.split_once('-')?;
        Some(RunFolder { run: long(run)?, worker: plain(worker)? })
    }
}

impl fmt::Display for RunFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RUN}{:020}-{}", self.run, self.worker)
    }
}

/// In front of the name of the job that a folder belongs to.
pub(super) const JOB: &str = "job-";

const LINES: &str = ".jsonl";
const RUN: &str = "run-";

/// A number of 20 digits, so that names sort as numbers do.
fn long(digits: &str) -> Option<u64> {
    (digits.len() == 20).then(|| number(digits)).flatten()
}

/// A number as it is.
fn plain(digits: &str) -> Option<usize> {
    let found = usize::try_from(number(digits)?).ok()?;
    (found.to_string() == digits).then_some(found)
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_names_of_files_never_change() {
        let pending = Pending { epoch: 17, generation: 3, worker: 12 };
        assert_eq!(pending.to_string(), "00000000000000000017-00000000000000000003-12");
        assert_eq!(pending.visible().to_string(), "00000000000000000017-12.jsonl");
        let of_run = OfRun { run: 2, epoch: u64::MAX, worker: 0 };
        assert_eq!(of_run.to_string(), "00000000000000000002-18446744073709551615-0.jsonl");
        let folder = RunFolder { run: 2, worker: 5 };
        assert_eq!(folder.to_string(), "run-00000000000000000002-5");
        assert_eq!(Pending::parse(&pending.to_string()), Some(pending));
        assert_eq!(Visible::parse(&pending.visible().to_string()), Some(pending.visible()));
        assert_eq!(OfRun::parse(&of_run.to_string()), Some(of_run));
        assert_eq!(RunFolder::parse(&folder.to_string()), Some(folder));
    }

    #[test]
    fn a_name_of_one_kind_is_of_no_other_and_others_are_of_none() {
        for name in [
            "00000000000000000017-00000000000000000003-12",
            "00000000000000000017-12.jsonl",
            "00000000000000000002-00000000000000000017-0.jsonl",
            "run-00000000000000000002-5",
            "17-3-12",
            "00000000000000000017-00000000000000000003-012",
            "00000000000000000017-00000000000000000003-+1",
            "+0000000000000000017-12.jsonl",
            "99999999999999999999-00000000000000000003-12",
            "00000000000000000017-00000000000000000003-12-1",
            "00000000000000000017-00000000000000000003-",
            "job-a",
            "",
        ] {
            let kinds = [
                Pending::parse(name).map(|p| p.to_string()),
                Visible::parse(name).map(|v| v.to_string()),
                OfRun::parse(name).map(|r| r.to_string()),
                RunFolder::parse(name).map(|r| r.to_string()),
            ];
            let found: Vec<_> = kinds.into_iter().flatten().collect();
            assert!(found.len() <= 1 && found.iter().all(|n| n == name), "{name}: {found:?}");
        }
    }
}
