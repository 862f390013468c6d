//! Asks the process's own pages.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use super::place::Place;
use crate::cluster_file::ClusterFile;
use crate::env_file;
use crate::wire::Assigned;

/// Time for a page.
const TIME: Duration = Duration::from_secs(2);
/// Bytes of a page at most.
const PAGE_MAX: u64 = 16 << 20;

/// What `status` shows of a process's metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// `tideflow_generation`.
    pub generation: Option<u64>,
    /// `tideflow_epoch`.
    pub epoch: Option<u64>,
    /// `tideflow_consumer_lag`, of all partitions that this process reads.
    pub lag: Option<u64>,
}

/// The figures in a page of metrics.
pub(super) fn figures(text: &str) -> Figures {
    let mut figures = Figures::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let value = value.max(0.0) as u64;
        match series.split('{').next().unwrap_or_default() {
            "tideflow_generation" => figures.generation = Some(value),
            "tideflow_epoch" => figures.epoch = Some(value),
            "tideflow_consumer_lag" => figures.lag = Some(figures.lag.unwrap_or(0) + value),
            _ => {}
        }
    }
    figures
}

/// A page's status and text.
pub(super) fn get(place: &Place, assigned: &Assigned, path: &str) -> io::Result<(u16, String)> {
    let address: SocketAddr = assigned.http.parse().map_err(io::Error::other)?;
    let secrets = std::fs::read_to_string(place.at("secrets/run.env")).unwrap_or_default();
    let token = env_file::read(&secrets).remove(&ClusterFile::variable("http.token"));
    fetch(address, token.as_deref(), path)
}

fn fetch(mut address: SocketAddr, token: Option<&str>, path: &str) -> io::Result<(u16, String)> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            address.set_ip(std::net::Ipv6Addr::LOCALHOST.into())
        }
        _ => {}
    }
    let mut stream = TcpStream::connect_timeout(&address, TIME)?;
    stream.set_read_timeout(Some(TIME))?;
    stream.set_write_timeout(Some(TIME))?;
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(PAGE_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_ref(), ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| io::Error::other("the port is another program's"))?;
    Ok((code, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn golden_figures_are_taken_from_the_metrics() {
        let text = "# HELP tideflow_epoch The newest epoch bound.\n\
                    tideflow_epoch 4711\n\
                    tideflow_epoch_lag 3\n\
                    tideflow_generation 7\n\
                    tideflow_consumer_lag{partition=\"0\",source=\"readings\"} 10\n\
                    tideflow_consumer_lag{partition=\"1\",source=\"a b\"} 5\n";
        let expected = Figures { generation: Some(7), epoch: Some(4711), lag: Some(15) };
        assert_eq!(figures(text), expected);
        assert_eq!(figures("x\n\n"), Figures::default());
    }

    #[test]
    fn a_page_is_asked_for_with_its_token() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = io::BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<_> = lines.map(Result::unwrap).take_while(|l| !l.is_empty()).collect();
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nready\n").unwrap();
            head
        });
        assert_eq!(fetch(address, Some("t"), "/readyz").unwrap(), (200, "ready\n".into()));
        let head = server.join().unwrap();
        assert_eq!(head[0], "GET /readyz HTTP/1.1");
        assert!(head.contains(&"Authorization: Bearer t".to_string()));
    }
}
