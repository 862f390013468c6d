//! The processes of a job: how they meet, and how they fail together.
//!
//! Each process reads the same list of addresses. Of two processes the one further down connects to the other,
//! over TLS both ways, or in plain text where all of them are on loopback. Before anything else is said both prove
//! that they know the job's token, and compare what must be the same in all: program, graph, settings, number of
//! processes and workers. What differs is refused with both values.
//!
//! Beside the lanes that carry records each pair has one for heartbeats. A process that ends says why there; one that
//! closes it without a word, or says nothing for a while, is lost. Either way the others end too, each with a line
//! that says who was lost: what is left of a job could only wait.

mod accept;
mod connect;
mod facts;
mod farewell;
mod frame;
mod hello;
mod lane;
mod meeting;
mod peers;
mod pump;
mod tls;
mod watch;

use std::time::Duration;

use tideflow_core::Secret;

pub use facts::Facts;
pub use meeting::{MeetError, Mesh, check, meet};
pub use tls::{TlsError, TlsFiles};
pub use watch::{Lost, OnLost, Watch};

pub(crate) use facts::program_digest;
pub(crate) use farewell::{lost_in_timely, say};

/// Where the processes of a job are, and how they may meet.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// The addresses of all processes, `host:port`, in the order of their indices.
    pub addresses: Vec<String>,
    /// This process's index.
    pub process: usize,
    /// How long to wait for all of them.
    pub join_timeout: Duration,
    /// How long a process may say nothing before it is lost.
    pub lost_after: Duration,
    /// What encrypts; none for plain text, which is for loopback only.
    pub tls: Option<TlsFiles>,
    /// What proves that a process belongs to the job. May be empty on loopback.
    pub token: Secret,
}

impl Meeting {
    /// A process as messages name it.
    fn name(&self, process: usize) -> String {
        format!("process {process} ({})", self.addresses[process])
    }
}
