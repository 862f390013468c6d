//! The lanes with one other process, while they meet.

use super::hello::Lane;
use super::lane::Connection;

/// The lanes with one other process.
#[derive(Default)]
pub(super) struct Peer {
    /// The number of the attempt that its lanes are of.
    attempt: u64,
    data: Option<Connection>,
    back: Option<Connection>,
    /// Whether its end would be noticed: its control lane is watched.
    pub watched: bool,
    /// What hindered the last try.
    pub hindrance: Option<String>,
}

/// The lanes of a pair of processes in the order in which they are opened. Control comes last: who has it has all.
pub(super) fn lanes(encrypted: bool) -> &'static [Lane] {
    match encrypted {
        true => &[Lane::Data, Lane::Back, Lane::Control],
        false => &[Lane::Data, Lane::Control],
    }
}

impl Peer {
    /// Whether a lane of this attempt is one of another start than those before, which was met: that one is gone.
    pub fn is_superseded_by(&self, attempt: u64) -> bool {
        self.watched && attempt != self.attempt
    }

    /// Makes room for the lanes of an attempt. Those of an earlier one that was given up go.
    pub fn begin(&mut self, attempt: u64) {
        if attempt != self.attempt {
            *self = Peer { attempt, ..Peer::default() };
        }
    }

    /// Adds a lane with records.
    pub fn add(&mut self, lane: Lane, connection: Connection) {
        match lane {
            Lane::Back => self.back = Some(connection),
            _ => self.data = Some(connection),
        }
    }

    pub fn is_complete(&self, encrypted: bool) -> bool {
        self.watched && self.data.is_some() && self.back.is_some() == encrypted
    }

    /// Takes the lanes with records.
    pub fn take(&mut self) -> Option<(Connection, Option<Connection>)> {
        Some((self.data.take()?, self.back.take()))
    }
}
