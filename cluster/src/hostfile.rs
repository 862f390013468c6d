//! The file that names the processes of a job.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A host file that cannot be used. The file or `workers.process` has to change, whichever it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostfileError {
    /// It cannot be read.
    #[error("host file `{path}` cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: std::io::Error,
    },
    /// It names no process.
    #[error("host file `{path}` is empty, expected one `host:port` a line")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line that is no address.
    #[error("{path}:{line}: found `{found}`, expected `host:port` with a port from 1 to 65535")]
    Address {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it holds.
        found: String,
    },
    /// An address in two lines.
    #[error("{path}:{line}: `{address}` stands in line {first} already")]
    Twice {
        /// The file.
        path: PathBuf,
        /// The second line, from 1.
        line: usize,
        /// The first line.
        first: usize,
        /// The address.
        address: String,
    },
    /// A process index without a line.
    #[error("`workers.process` is {process}, expected 0 to {} (`{path}` has {hosts} lines)", .hosts - 1)]
    Process {
        /// The file.
        path: PathBuf,
        /// The index.
        process: usize,
        /// Processes in the file.
        hosts: usize,
    },
}

/// The addresses of a job's processes, `host:port`, in the order of their indices.
///
/// # Errors
/// When the file cannot be read, names no process, or has a line that is no address or is there
/// twice.
pub fn hosts(path: &Path) -> Result<Vec<String>, HostfileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| HostfileError::Unreadable { path: path.into(), source })?;
    let mut hosts = Vec::new();
    let mut lines = HashMap::new();
    for (line, address) in (1..).zip(text.lines().map(str::trim)) {
        if address.is_empty() || address.starts_with('#') {
            continue;
        }
        if !is_address(address) {
            return Err(HostfileError::Address { path: path.into(), line, found: address.into() });
        }
        if let Some(first) = lines.insert(address, line) {
            let address = address.into();
            return Err(HostfileError::Twice { path: path.into(), line, first, address });
        }
        hosts.push(address.to_owned());
    }
    if hosts.is_empty() { Err(HostfileError::Empty { path: path.into() }) } else { Ok(hosts) }
}

/// The addresses of a job's processes, of which this one is number `process`.
///
/// # Errors
/// As [`hosts`], and when the file has no line for this process.
pub fn hosts_of(path: &Path, process: usize) -> Result<Vec<String>, HostfileError> {
    let hosts = hosts(path)?;
    match hosts.len() {
        len if process < len => Ok(hosts),
        len => Err(HostfileError::Process { path: path.into(), process, hosts: len }),
    }
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host_fits = !host.is_empty() && !host.contains(char::is_whitespace);
    host_fits && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok_and(|p| p > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, process: usize) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, text).unwrap();
        let shown = path.display().to_string();
        hosts_of(&path, process).map_err(|e| e.to_string().replace(&shown, "hosts"))
    }

    #[test]
    fn addresses_come_in_the_order_of_the_file() {
        let found = read("# a job\na.example:2101\n\n  [::1]:2102 \n", 1).unwrap();
        assert_eq!(found, ["a.example:2101", "[::1]:2102"]);
    }

    #[test]
    fn a_bad_host_file_says_what_was_expected_and_found() {
        let wrong = |text: &str, process| read(text, process).unwrap_err();
        let expected = "expected `host:port` with a port from 1 to 65535";
        assert_eq!(
            wrong("# none\n", 0),
            "host file `hosts` is empty, expected one `host:port` a line"
        );
        for bad in ["a", "a:", ":1", "a:0", "a:65536", "::1:2101", "a b:1"] {
            assert_eq!(
                wrong(&format!("x:1\n{bad}\n"), 0),
                format!("hosts:2: found `{bad}`, {expected}")
            );
        }
        assert_eq!(wrong("a:1\nb:1\na:1\n", 0), "hosts:3: `a:1` stands in line 1 already");
        assert_eq!(
            wrong("a:1\nb:1\n", 2),
            "`workers.process` is 2, expected 0 to 1 (`hosts` has 2 lines)"
        );
        let missing = hosts(Path::new("no/such/file")).unwrap_err().to_string();
        assert!(missing.starts_with("host file `no/such/file` cannot be read: "), "{missing}");
    }
}
