//! Looks at the way from this host to the others.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crate::cluster_file::Host;
use crate::wire::{Finding, Grade};

/// Time for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Whether this host has the address that the others know it by, and reaches theirs on the port of the job.
pub(super) fn findings(hosts: &[Host], own: usize, port: u16) -> Vec<Finding> {
    let Some(this) = hosts.get(own) else { return Vec::new() };
    let others = hosts.iter().enumerate().filter(|(index, _)| *index != own);
    let reached = thread::scope(|scope| {
        let asked: Vec<_> =
            others.map(|(_, host)| scope.spawn(move || reach(host, port))).collect();
        let answers = asked.into_iter().map(|asked| asked.join().expect("it does not panic"));
        answers.collect::<Vec<_>>()
    });
    let all_here = hosts.iter().all(Host::is_loopback);
    std::iter::once(address(this, all_here)).chain(reached).collect()
}

fn resolve(host: &Host, port: u16) -> io::Result<SocketAddr> {
    // An address of version 6 has no brackets in the list.
    let found = match host.address.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, port)),
        Err(_) => (host.address.as_str(), port).to_socket_addrs()?.next(),
    };
    found.ok_or_else(|| io::Error::other("its name has no address"))
}

/// That the process listens where the others look for it.
fn address(host: &Host, all_here: bool) -> Finding {
    let what = "address";
    let bad = |found: String, remedy: &str| Finding::bad(Grade::Fail, what, found, remedy);
    match resolve(host, 0) {
        Err(error) => bad(
            format!("`{}` is not known here: {error}", host.address),
            "name it in DNS or `/etc/hosts`, or write its address into the list of hosts",
        ),
        Ok(found) if found.ip().is_loopback() && !all_here => bad(
            format!("`{}` is {} here, which no other host reaches", host.address, found.ip()),
            "take the name off that line of `/etc/hosts`, or write the address into the list of hosts",
        ),
        Ok(found) => match TcpListener::bind(found) {
            Ok(_) => Finding::ok(what, format!("`{}` is this host's", host.address)),
            Err(error) => bad(
                format!("`{}` is no address of this host's own: {error}", host.address),
                "write the address into the list by which the hosts reach each other",
            ),
        },
    }
}

/// Whether a host answers on the port; that it refuses is an answer, nothing may run there.
fn reach(host: &Host, port: u16) -> Finding {
    let what = format!("way to {}", host.name);
    let reached = resolve(host, port).and_then(|to| TcpStream::connect_timeout(&to, CONNECT_TIME));
    match reached {
        Ok(_) => Finding::ok(&what, format!("it listens on port {port}")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Finding::ok(&what, format!("reached; nobody waits on port {port} there now"))
        }
        Err(error) => Finding::bad(
            Grade::Fail,
            &what,
            format!("port {port} of `{}` is not reached: {error}", host.address),
            "let the firewalls open `ports.cluster` to the job's hosts, and look whether that host is up",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, address: &str) -> Host {
        Host { name: name.into(), address: address.into() }
    }

    #[test]
    fn golden_what_is_wrong_with_the_network_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts = [
            host("w0", "127.0.0.1"),
            host("w1", "127.0.0.1"),
            host("w2", "127.0.0.2"),
            host("w3", "no-such-host.invalid"),
        ];
        let found = findings(&hosts, 0, port);
        let told: Vec<_> =
            found.iter().map(|f| (f.grade, f.what.as_str(), f.found.as_str())).collect();
        assert_eq!(told[0].1, "address");
        assert_eq!(told[0].2, "`127.0.0.1` is 127.0.0.1 here, which no other host reaches");
        assert_eq!(told[1], (Grade::Ok, "way to w1", &*format!("it listens on port {port}")));
        let nobody = format!("reached; nobody waits on port {port} there now");
        assert_eq!(told[2], (Grade::Ok, "way to w2", nobody.as_str()));
        assert_eq!((told[3].0, told[3].1), (Grade::Fail, "way to w3"));
        // An address for documentation only: nobody has it.
        let away = findings(&[host("w0", "192.0.2.1"), host("w1", "127.0.0.1")], 0, port);
        assert!(
            away[0].found.starts_with("`192.0.2.1` is no address of this host's own"),
            "{away:?}"
        );
        let here = findings(&hosts[..3], 1, port);
        assert_eq!(here[0], Finding::ok("address", "`127.0.0.1` is this host's"));
    }
}
