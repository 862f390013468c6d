//! The command line as people meet it.

use std::process::{Command, Output};

fn tideflow(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tideflow"));
    command.args(args).env_remove("TIDEFLOW_CLUSTER").output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn help_names_every_command_but_the_one_for_hosts() {
    let output = tideflow(&["--help"]);
    assert!(output.status.success());
    let help = text(output.stdout);
    let commands = [
        "plan",
        "up",
        "status",
        "logs",
        "stop",
        "rescale",
        "restart",
        "rollback",
        "down",
        "doctor",
        "certs",
        "supervise",
        "completions",
        "man",
    ];
    for name in commands {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))),
            "{name}"
        );
        let of_it = text(tideflow(&[name, "--help"]).stdout);
        assert!(of_it.contains("--deadline"), "{name}");
        assert!(of_it.lines().all(|line| line.chars().count() <= 100), "{of_it}");
    }
    assert!(!help.contains("agent"), "{help}");
    assert!(help.contains("Exit codes: 0 done, 1 failed on some host, 2 refused"));
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(tideflow(&["completions", shell]).stdout);
        assert!(script.contains("rollback"), "{shell}");
    }
    let page = text(tideflow(&["man"]).stdout);
    assert!(page.contains(".TH") && page.contains("rescale"), "{page}");
    let page = text(tideflow(&["man", "rescale"]).stdout);
    assert!(page.contains(".TH tideflow-rescale 1"), "{page}");
    assert_eq!(tideflow(&["man", "agent"]).status.code(), Some(2));
}

#[test]
fn golden_without_a_cluster_file_it_is_refused() {
    let output = tideflow(&["up", "--cluster", "no/such.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(output.stderr),
        "tideflow: cluster file refused: no/such.toml: cannot be read: No such file or directory \
         (os error 2) (`--cluster` names another)\n"
    );
    assert_eq!(tideflow(&["fly"]).status.code(), Some(2));
}
