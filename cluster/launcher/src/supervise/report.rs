//! What a supervisor says about its program.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitStatus;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::clock;

/// The file in the supervisor's folder.
const REPORT: &str = "supervise.json";

/// How the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It runs.
    Running,
    /// It was lost, and is about to be started again.
    Restarting,
    /// It was stopped, or has come to its end.
    Stopped,
    /// It ended in a way that no start mends.
    Failed,
}

/// What `supervise.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The supervisor's process.
    pub supervisor: u32,
    /// The program's, the last one.
    pub pid: u32,
    /// How the program is.
    pub phase: Phase,
    /// How often it was started again.
    pub restarts: u64,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: i64,
    /// When this was written.
    pub written_ms: i64,
    /// How it ended last.
    pub ended: Option<String>,
    /// What it said last before that.
    pub words: Option<String>,
}

impl Report {
    /// Of this process as a supervisor that has not started anything yet.
    pub fn starting() -> Report {
        Report {
            supervisor: std::process::id(),
            pid: 0,
            phase: Phase::Restarting,
            restarts: 0,
            started_ms: 0,
            written_ms: 0,
            ended: None,
            words: None,
        }
    }

    /// What a folder's supervisor has said last.
    pub fn read(folder: &Path) -> Option<Report> {
        let text = std::fs::read(folder.join(REPORT)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// How the program ended last, and what it said before that.
    pub fn told(&self) -> Option<String> {
        let ended = self.ended.as_ref()?;
        Some(self.words.as_ref().map_or(ended.clone(), |words| format!("{ended}: {words}")))
    }

    /// The same, unless it ended well.
    pub fn ended_badly(&self) -> Option<String> {
        let well = super::shown(ExitStatus::default());
        self.told().filter(|_| self.ended.as_ref() != Some(&well))
    }

    /// Says how it is now. How it ended before stays until it ends again.
    pub(super) fn write(
        &mut self,
        folder: &Path,
        phase: Phase,
        ended: Option<String>,
        words: Option<String>,
    ) -> io::Result<()> {
        self.phase = phase;
        self.written_ms = clock::now_ms();
        if ended.is_some() {
            (self.ended, self.words) = (ended, words);
        }
        let mut file = NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.persist(folder.join(REPORT))?;
        Ok(())
    }
}
