//! The cluster file: its example, and everything that can be wrong with one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use tideflow_launcher::cluster_file::{ClusterFile, Host, HostSource, SecretSource};

const EXAMPLE: &str = include_str!("../examples/cluster.toml");

/// A folder with all that the example names.
fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["target/release", "models/health", "native", "secrets", "sub/health"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    let files = ["target/release/device_health", "health.toml", "id_ed25519", "known_hosts"];
    for name in files.into_iter().chain(["secrets/http-token"]) {
        fs::write(at(name), "x\n").unwrap();
    }
    let program = fs::Permissions::from_mode(0o755);
    fs::set_permissions(at("target/release/device_health"), program).unwrap();
    fs::write(at("cluster.toml"), text).unwrap();
    folder
}

fn read(folder: &Path) -> Result<ClusterFile, Vec<String>> {
    let shown = format!("{}/", folder.display());
    ClusterFile::read(&folder.join("cluster.toml"))
        .map_err(|refused| refused.0.iter().map(|problem| problem.replace(&shown, "")).collect())
}

fn problems(text: &str) -> Vec<String> {
    read(folder(text).path()).err().unwrap_or_default()
}

/// The example, with a variable that is there on every machine.
fn example() -> String {
    EXAMPLE.replace("KAFKA_PASSWORD", "PATH")
}

#[test]
fn the_example_is_read_and_shows_the_defaults() {
    let folder = folder(&example());
    let file = read(folder.path()).unwrap();
    assert_eq!((file.job.name.as_str(), file.job.threads), ("device-health", 1));
    assert_eq!(file.job.processes, Some(2));
    assert_eq!(file.job.models, [folder.path().join("models/health")]);
    assert_eq!((file.ports.cluster, file.ports.http), (2_101, 9_464));
    let HostSource::List(hosts) = &file.hosts else { panic!("another source") };
    assert_eq!(hosts[1], Host { name: "w2".into(), address: "10.0.0.2".into() });
    assert_eq!(file.secrets["kafka.sasl_password"], SecretSource::Variable("PATH".into()));
    assert_eq!(file.secrets["http.token"].read(), Ok("x".into()));
    assert_eq!(ClusterFile::variable("kafka.sasl_password"), "TIDEFLOW__KAFKA__SASL_PASSWORD");

    let least = "[job]\nname = \"j\"\nbinary = \"target/release/device_health\"\n\
                 [hosts]\nlist = [{ name = \"a\", address = \"127.0.0.1\" }]\n";
    let folder = self::folder(least);
    let by_default = read(folder.path()).unwrap();
    assert_eq!(by_default.job.threads, file.job.threads);
    assert_eq!(by_default.ports.cluster, file.ports.cluster);
    assert_eq!(by_default.ports.http, file.ports.http);
    assert_eq!(by_default.ports.http_bind, file.ports.http_bind);
    assert_eq!(by_default.place.folder, file.place.folder);
    assert_eq!(by_default.certs.file_name(), file.certs.file_name());
    let without_memory = tideflow_launcher::cluster_file::Limits { memory: None, ..file.limits };
    assert_eq!(by_default.limits, without_memory);
}

#[test]
fn golden_everything_that_is_wrong_is_told_at_once() {
    let text = "[job]\nname = \"no good\"\nbinary = \"health.toml\"\nthread = 2\nthreads = 0\n\
                models = [\"models/health\", \"sub/health\", \"none\"]\n\
                [host]\n[hosts]\n[ssh]\nport = \"22\"\nuser = \"-oProxyCommand=x\"\n\
                [ports]\nhttp = 2101\nhttp_bind = \"0.0.0.0\"\n\
                [secrets]\n\"a.b\" = \"in the clear\"\n[place]\nfolder = \"opt\"\n";
    assert_eq!(
        problems(text),
        [
            "cluster.toml:4: unknown key `job.thread`, did you mean `job.threads`?",
            "cluster.toml:7: unknown section `host`, did you mean `hosts`?",
            "cluster.toml:2: `job.name`: found `no good`, expected up to 63 letters, digits and \
             `_`, `-`, a letter or digit first",
            "cluster.toml:3: `job.binary`: `health.toml` is no program",
            "cluster.toml:6: `job.models`: another folder is named as `sub/health` is",
            "cluster.toml:6: `job.models`: `none`: No such file or directory (os error 2)",
            "cluster.toml:5: `job.threads`: found 0, expected a number from 1 to 256",
            "cluster.toml: expected one of `list`, `terraform` and `command` in `[hosts]`, found 0",
            "cluster.toml:11: `ssh.user`: found `-oProxyCommand=x`, expected up to 63 letters, \
             digits and `.`, `_`, `-`, a letter or digit first",
            "cluster.toml:10: `ssh.port`: found string, expected a number from 1 to 65535",
            "cluster.toml: `secrets.a.b`: expected `{ env = \"NAME\" }` or `{ file = \"path\" }`",
            "cluster.toml:13: `ports.http`: 2101 is `ports.cluster` too, expected another",
            "cluster.toml:14: `ports.http_bind`: others reach this address: `[secrets]` needs an \
             `http.token`",
            "cluster.toml:18: `place.folder`: found `opt`, expected an absolute path of letters, \
             digits, `.`, `_` and `-`",
        ]
    );
    assert!(problems("\nx =")[0].starts_with("cluster.toml:2: not TOML: "));
    let missing = problems("[hosts]\ncommand = \"true\"\n");
    assert_eq!(
        missing,
        ["cluster.toml: `job.name`: is missing", "cluster.toml: `job.binary`: is missing"]
    );
}

#[test]
fn a_secret_is_never_repeated() {
    let text = example().replace("{ env = \"PATH\" }", "\"hunter2\"");
    let told = problems(&text);
    assert_eq!(told.len(), 1);
    assert!(!told[0].contains("hunter2"), "{told:?}");
    let unset = problems(&example().replace("\"PATH\"", "\"TIDEFLOW_NOT_SET\""));
    assert_eq!(
        unset,
        ["cluster.toml: `secrets.kafka.sasl_password`: variable `TIDEFLOW_NOT_SET`: environment \
          variable not found"]
    );
}

#[test]
fn hosts_come_from_a_command_and_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = |script: &str| {
        let words = ["sh", "-c", script].map(String::from).to_vec();
        HostSource::Command(words).hosts(folder.path()).map_err(|error| error.to_string())
    };
    let good =
        hosts(r#"echo '[{"name": "a", "address": "::1"}, {"name": "b", "address": "b.x"}]'"#);
    let good = good.unwrap();
    assert_eq!(good[0].endpoint(2_101), "[::1]:2101");
    assert_eq!((good[0].is_loopback(), good[1].is_loopback()), (true, false));
    let wrong = |script: &str, what: &str| {
        let said = hosts(script).unwrap_err();
        assert!(said.contains(what), "{said}");
    };
    wrong("echo boom >&2; exit 3", "failed: boom");
    wrong("echo '{}'", "expected a list");
    wrong("echo '[]'", "one host at least");
    wrong(r#"echo '[{"name": "a"}]'"#, "expected `name` and `address`");
    wrong(r#"echo '[{"name": "a", "address": "-oProxyCommand=x"}]'"#, "no host's address");
    wrong(
        r#"echo '[{"name": "a", "address": "1"}, {"name": "b", "address": "1"}]'"#,
        "the address `1` is there twice",
    );
    wrong("echo not json", "not JSON");
}
