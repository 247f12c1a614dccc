//! What all commands have in common: a clear message and status 2 for what can't be read, completions,
//! and the name as a plug-in of kubectl.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use crate::harness::project;
use crate::serve::program;

fn run(arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .current_dir(project())
        .env_remove("KUBECONFIG")
        .output()
        .unwrap()
}

#[test]
fn a_reader_that_has_read_enough_changes_no_status() {
    // A cluster without hosts is a finding.
    for (cluster, status) in [("examples", 0), ("examples/cluster-networks.yaml", 1)] {
        let mut command = Command::new(program());
        command.args(["check", "--cluster", cluster]).current_dir(project());
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

/// A kubeconfig of an API server that nobody is.
const NOBODY: &str = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: u, user: {token: secret-token}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
";

#[test]
fn what_cant_be_read_is_status_2_and_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("nobody");
    fs::write(&nobody, NOBODY).unwrap();
    let nobody = nobody.to_str().unwrap();
    let change = "docs/changes/cluster-b-on-host3.yaml";
    let unreachable =
        "API server https://127.0.0.1:1/: ClusterNetwork can't be listed: unreachable";
    for (arguments, said) in [
        (
            &["explain", "vm", "default/none", "--cluster", "examples"][..],
            "there is no VirtualMachine",
        ),
        (&["explain", "vm", "none", "--cluster", "examples"], "\"none\" is not NAMESPACE/NAME"),
        (&["explain", "host", "none", "--cluster", "examples"], "there is no host none"),
        (&["explain", "network", "a/b", "--cluster", "examples"], "there is no VM network a/b"),
        (
            &["explain", "cluster-network", "x", "--cluster", "examples"],
            "there is no cluster network x",
        ),
        (&["explain", "host", "host0", "--cluster", "/none"], "/none: No such file"),
        (&["explain", "vm", "-f", "/none", "--cluster", "examples"], "/none: No such file"),
        (&["explain", "host", "host0", "--kubeconfig", nobody], unreachable),
        (&["plan", "-f", "/none", "--cluster", "examples"], "/none: No such file"),
        (&["plan", "-f", change, "--cluster", "/none"], "/none: No such file"),
        (&["plan", "-f", change, "--kubeconfig", nobody], unreachable),
        (&["plan", "-f", change, "--kubeconfig", "/none"], "/none: failed to read kubeconfig"),
        (&["check", "--cluster", "/none"], "/none: No such file"),
        (&["check", "--kubeconfig", "/none"], "/none: failed to read kubeconfig"),
        (&["check", "--kubeconfig", nobody], unreachable),
        (&["doctor", "--kubeconfig", "/none"], "/none: failed to read kubeconfig"),
        (&["doctor", "--kubeconfig", nobody], "unreachable"),
        (&["cleanup", "--kubeconfig", nobody], "unreachable"),
        (&["certs", "ca", "status", "--kubeconfig", nobody], "unreachable"),
        (&["manifests", "--ca-file", "/none"], "--ca-file: /none: No such file"),
        (&["serve", "--kubeconfig", "/none"], "/none: failed to read kubeconfig"),
        (&["completions", "none"], "invalid value 'none'"),
        (&["none"], "unrecognized subcommand 'none'"),
    ] {
        let output = run(arguments);
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8(all).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {all}");
        assert_eq!(all.matches(said).count(), 1, "{arguments:?}: {said}: {all}");
        assert!(!all.contains("secret-token") && !all.contains("panicked"), "{all}");
        assert!(!all.contains('\u{1b}'), "only a terminal gets colours: {all:?}");
    }
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("cluster-network"), "{shell}");
    }
}

#[test]
fn as_a_plug_in_it_is_kubectl_lanekeeper() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-lanekeeper");
    symlink(program(), &plugin).unwrap();
    let usage = |program: &std::path::Path| {
        let output = Command::new(program).args(["explain", "vm", "--help"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(usage(&plugin).contains("Usage: kubectl lanekeeper explain vm"), "{}", usage(&plugin));
    assert!(usage(&program()).contains("Usage: lanekeeper explain vm"));
}

#[test]
fn a_kubeconfig_that_cant_be_read_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let text =
        "users:\n- name: a\n  user:\n    token: secret-token\n    tokenFile: [secret-file]\n";
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let by_name = run(&["check", "--kubeconfig", file]);
    let mut command = Command::new(program());
    command.arg("check").current_dir(project()).env("RUST_LOG", "trace").env("KUBECONFIG", file);
    for output in [by_name, command.output().unwrap()] {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("expected string scalar at line 5, column 16"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
