//! How a graph binary ends, as the code its supervisor sees.

use std::fmt::Write;
use std::process::ExitCode;

use tideflow_core::ErrorKind;

/// Why a process ends. This is the only place where exit codes are defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Finished, or stopped cleanly by a signal.
    Done = 0,
    /// Failed while running, or did not end within `run.stop_timeout_ms`.
    Failed = 1,
    /// The configuration, the command line or what was found there is refused: somebody must change it.
    Refused = 2,
    /// Something it depends on was not reachable in time, or a port is taken.
    Unreachable = 3,
    /// Another start of the job has taken over.
    Superseded = 4,
    /// Another process of the job is lost: all are to be started again.
    PeerLost = 5,
    /// A panic: an error in the program.
    Panicked = 70,
    /// A second signal arrived while it was stopping.
    SecondSignal = 130,
}

impl Exit {
    /// Every code.
    pub const ALL: [Exit; 8] = [
        Exit::Done,
        Exit::Failed,
        Exit::Refused,
        Exit::Unreachable,
        Exit::Superseded,
        Exit::PeerLost,
        Exit::Panicked,
        Exit::SecondSignal,
    ];

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for `--help`.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "finished, or stopped cleanly by SIGINT or SIGTERM",
            Exit::Failed => "failed while running, or did not stop within run.stop_timeout_ms",
            Exit::Refused => {
                "refused: configuration, command line or what was found must be changed first"
            }
            Exit::Unreachable => {
                "something it depends on was not reachable in time, or a port is taken"
            }
            Exit::Superseded => {
                "another start of the job has taken over: do not start this one again"
            }
            Exit::PeerLost => "another process of the job is lost: all are to be started again",
            Exit::Panicked => "panic: an error in the program",
            Exit::SecondSignal => "left at once on a second signal",
        }
    }

    /// The codes and their meanings, a line each.
    pub fn table() -> String {
        Exit::ALL.iter().fold(String::new(), |mut table, exit| {
            let _ = writeln!(table, "  {:>3}  {}", exit.code(), exit.meaning());
            table
        })
    }

    /// Ends the process at once: no destructors, no other thread is waited for.
    pub fn now(self) -> ! {
        signal_hook::low_level::exit(i32::from(self.code()))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Exit {
        match kind {
            ErrorKind::Invalid => Exit::Refused,
            ErrorKind::Unavailable => Exit::Unreachable,
            ErrorKind::Fatal => Exit::Failed,
            ErrorKind::Superseded => Exit::Superseded,
        }
    }
}
