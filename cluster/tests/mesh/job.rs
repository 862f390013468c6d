//! A job whose processes are threads, and a cable that can be cut.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tideflow_cluster::mesh::{Facts, Lost, Meeting, Mesh, OnLost, meet};
use tideflow_core::timely::WorkerConfig;
use tideflow_core::timely::dataflow::operators::vec::ToStream;
use tideflow_core::timely::dataflow::operators::{Exchange, Inspect};
use tideflow_core::timely::execute::execute_from;
use tideflow_core::timely::worker::Worker;
use tideflow_core::{Secret, Workers};

/// Addresses of so many processes.
pub fn addresses(processes: usize) -> Vec<String> {
    let free: Vec<_> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    free.iter().map(|listener| listener.local_addr().expect("bound").to_string()).collect()
}

pub fn meeting(addresses: &[String], process: usize) -> Meeting {
    Meeting {
        addresses: addresses.to_vec(),
        process,
        join_timeout: Duration::from_secs(60),
        lost_after: Duration::from_millis(1_000),
        tls: None,
        token: Secret::default(),
    }
}

pub fn facts(processes: usize) -> Facts {
    Facts {
        job: "health".into(),
        processes,
        threads: 1,
        program: "aa".into(),
        graph: "bb".into(),
        settings: BTreeMap::from([("window.length_ms".into(), "60000".into())]),
        generation: Some(4),
    }
}

/// A process of a job.
pub struct Process {
    pub meeting: Meeting,
    pub facts: Facts,
}

/// A process that has met the others, and those it has lost.
pub struct Met {
    pub mesh: Mesh,
    pub lost: Receiver<Lost>,
}

/// Numbers that each process sends to where they belong.
const NUMBERS: u64 = 20_000;

/// The sum of what each worker of so many is sent by all.
pub fn sums(processes: usize) -> Vec<u64> {
    let processes = processes as u64;
    let of = |own| (0..NUMBERS).filter(|n| n % processes == own).sum::<u64>() * processes;
    (0..processes).map(of).collect()
}

/// What each of so many processes was sent.
pub fn all(processes: usize, change: impl Fn(&mut Process)) -> Vec<u64> {
    let addresses = addresses(processes);
    let started = (0..processes).map(|number| {
        let mut process = Process::new(&addresses, number);
        change(&mut process);
        process.start()
    });
    let started: Vec<_> = started.collect();
    started.into_iter().map(|process| process.join().expect("it runs to its end")).collect()
}

impl Process {
    pub fn new(addresses: &[String], process: usize) -> Process {
        Process { meeting: meeting(addresses, process), facts: facts(addresses.len()) }
    }

    /// Meets the others.
    pub fn meets(self) -> JoinHandle<Met> {
        thread::spawn(move || {
            let (sender, lost) = channel();
            let on_lost: OnLost = Arc::new(move |lost: &Lost| drop(sender.send(lost.clone())));
            let mesh = meet(&self.meeting, &self.facts, on_lost).expect("they meet");
            Met { mesh, lost }
        })
    }

    /// Meets the others, sends each its numbers, and sums what it is sent.
    pub fn start(self) -> JoinHandle<u64> {
        thread::spawn(move || {
            let met = self.meets().join().expect("they meet");
            let (workers, watch) = met.mesh.workers(1).expect("threads");
            let sum = exchanged(workers);
            drop(watch);
            // Those that are done are not lost.
            assert!(met.lost.try_recv().is_err());
            sum
        })
    }
}

fn exchanged(workers: Workers) -> u64 {
    let (builders, network) = workers.build().expect("threads");
    let sum = Arc::<AtomicU64>::default();
    let received = sum.clone();
    let work = move |worker: &mut Worker| {
        let (own, processes, sum) = (worker.index(), worker.peers(), received.clone());
        worker.dataflow::<u64, _, _>(|scope| {
            let numbers = (0..NUMBERS).to_stream(scope).exchange(|n| *n);
            numbers.inspect(move |n: &u64| {
                assert_eq!(*n as usize % processes, own);
                sum.fetch_add(*n, Ordering::AcqRel);
            });
        });
    };
    let run = execute_from(builders, network, WorkerConfig::default(), work).expect("threads");
    run.join().into_iter().for_each(|worker| worker.expect("it does not panic"));
    sum.load(Ordering::Acquire)
}

/// A connection that can be cut: what comes at its address is carried to another, until it is not.
pub struct Cable {
    address: SocketAddr,
    state: Arc<Carried>,
}

#[derive(Default)]
struct Carried {
    cut: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Cable {
    pub fn to(address: &str) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("bound");
        let (state, address) = (Arc::<Carried>::default(), address.to_string());
        let carried = state.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.expect("it is accepted");
                // Closed where nobody listens yet: who has connected tries again.
                let Ok(far) = TcpStream::connect(&address) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let both = (from.try_clone().expect("open"), to.try_clone().expect("open"));
                    carried.carry(both);
                }
                carried.sockets.lock().expect("nobody panics with it").extend([near, far]);
            }
        });
        Cable { address: own, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing comes through, and nobody is told.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::Release);
    }

    /// Both ends are closed.
    pub fn close(&self) {
        for socket in self.state.sockets.lock().expect("nobody panics with it").iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Carried {
    fn carry(self: &Arc<Self>, (mut from, mut to): (TcpStream, TcpStream)) {
        let own = self.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                if !own.cut.load(Ordering::Acquire) && to.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
            if !own.cut.load(Ordering::Acquire) {
                let _ = to.shutdown(Shutdown::Write);
            }
        });
    }
}
