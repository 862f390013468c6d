//! A stand-in for a graph's program, for the tests: it can be asked what the launcher asks, and runs until
//! it is stopped. Its settings are any TOML; some words in them make it behave badly.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;

use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().collect();
    let config = args.iter().position(|arg| arg == "--config").map(|at| &args[at + 1]);
    let config = config.map(|path| std::fs::read_to_string(path).expect("it is there"));
    let config = config.unwrap_or_default();
    match args.get(1).map(String::as_str) {
        Some("config") if config.contains("broken") => {
            eprintln!("tideflow: configuration refused: broken");
            return ExitCode::from(2);
        }
        Some("config") => print!("{config}"),
        Some("graph") => {
            let more = if config.contains("more") {
                r#", {"name": "more", "kind": "operator"}"#
            } else {
                ""
            };
            println!(r#"{{"nodes": [{{"name": "in", "kind": "source"}}{more}], "edges": []}}"#);
        }
        Some("check") => {
            let place = std::env::current_dir().expect("there is one");
            println!("ok    configuration: read\nok    place: {}", place.display());
        }
        Some("run") => return run(&config),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

fn run(config: &str) -> ExitCode {
    eprintln!("2026-11-28T09:00:00.000000Z  INFO main graph: starting");
    if config.contains("refused") {
        eprintln!("tideflow: refused when run");
        return ExitCode::from(2);
    }
    let secret = std::env::var("TIDEFLOW__A__PASSWORD").unwrap_or_default();
    let address = std::env::var("TIDEFLOW__HTTP__BIND").expect("the launcher sets it");
    let listener = TcpListener::bind(&address).expect("the port is free");
    let mut signals = Signals::new([SIGTERM]).expect("signals can be watched");
    std::thread::spawn(move || {
        signals.forever().next();
        eprintln!("2026-11-28T09:00:01.000000Z  INFO main graph: stopped");
        std::process::exit(0);
    });
    for mut stream in listener.incoming().flatten() {
        let mut head = [0; 1_024];
        let _ = stream.read(&mut head);
        let body = format!("tideflow_epoch 7\ntideflow_generation {}\n", secret.len());
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
    }
    ExitCode::SUCCESS
}
