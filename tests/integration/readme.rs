//! The README's commands, run as they stand there, print what stands there.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::project;
use crate::serve::{PATIENCE, Process, copy_of_project, program};

/// A piece of the README.
enum Part {
    /// Anything but a command, by lines.
    Text(String),
    /// A command, and what should follow it.
    Step { command: String, output: String },
}

/// The README, its `console` blocks taken apart into commands.
fn parts(readme: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut in_block = false;
    for line in readme.lines() {
        let line_end = format!("{line}\n");
        in_block = if in_block { line != "```" } else { line == "```console" };
        match (line.strip_prefix("$ "), parts.last_mut()) {
            (Some(command), _) if in_block => {
                parts.push(Part::Step { command: command.to_owned(), output: String::new() });
            }
            (None, Some(Part::Step { output, .. })) if in_block => output.push_str(&line_end),
            (_, Some(Part::Text(text))) => text.push_str(&line_end),
            _ => parts.push(Part::Text(line_end)),
        }
    }
    parts
}

#[test]
fn the_walk_prints_what_the_readme_says() {
    let path = project().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    assert!(readme.contains("\ncargo run -- serve --cluster examples\n"));
    assert!(readme.contains("\ncargo test\n"));
    let process = Process::start(copy_of_project(), &[]).ready();
    let run = |command: &str| {
        // The ports and the program are this test's own.
        let command = command
            .replace("localhost:8443", &format!("localhost:{}", process.https.port()))
            .replace("localhost:8080", &format!("localhost:{}", process.admin.port()))
            .replace("cargo run -q --", program().to_str().unwrap());
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", &command])
            .current_dir(process.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {said}");
        let mut text = String::from_utf8(output.stdout).unwrap();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    };
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut written = String::new();
    let mut steps_run = 0;
    for part in parts(&readme) {
        let (command, output) = match part {
            Part::Step { command, output } => (command, output),
            Part::Text(text) => {
                written.push_str(&text);
                continue;
            }
        };
        steps_run += 1;
        let mut got = run(&command);
        // What asks changes nothing, and may be asked again until a change of a file is in force.
        let started = Instant::now();
        while command.starts_with("curl") && got != output && started.elapsed() < PATIENCE {
            std::thread::park_timeout(Duration::from_millis(20));
            got = run(&command);
        }
        if !update {
            assert_eq!(got, output, "{command}");
        }
        write!(written, "$ {command}\n{got}").unwrap();
    }
    assert!(steps_run >= 10, "the README's blocks are found");
    if update {
        fs::write(&path, written).unwrap();
    }
}
