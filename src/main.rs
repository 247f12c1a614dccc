//! Parses the arguments, runs the command, and turns its result into an exit code.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _};
use lanekeeper::cli::{
    self, Administration, Cli, Command, Explained, Job, Place, Plan, Reading, Unschedulable,
};
use lanekeeper::cluster::Problem;
use lanekeeper::commands::certs::{Action, Certs, certs};
use lanekeeper::commands::check::check;
use lanekeeper::commands::cleanup::{Cleanup, cleanup};
use lanekeeper::commands::doctor::{Doctor, doctor};
use lanekeeper::commands::explain::{self, Explanation};
use lanekeeper::commands::manifests::{manifests, wiring};
use lanekeeper::commands::plan::plan;
use lanekeeper::decide::review::Policy;
use lanekeeper::view::plan::Mode;
use lanekeeper::{serve, telemetry};

// glibc's allocator takes a third of the time of a filter request once its heap is fragmented, and keeps
// what a burst of large bodies freed.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The exit code of a command that failed.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    match run(arguments()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // If standard error is closed, there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "lanekeeper: {}", in_full(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// An error and its causes. Some errors tell their cause themselves, which is then not told again.
fn in_full(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |said, cause| {
        let cause = cause.to_string();
        if said.contains(&cause) { said } else { format!("{said}: {cause}") }
    })
}

/// Reads the arguments. As a plug-in of kubectl, the program is `kubectl lanekeeper`.
fn arguments() -> Cli {
    let mut command = Cli::command();
    let program = std::env::args_os().next().map(PathBuf::from);
    if program.as_ref().and_then(|it| it.file_stem()).is_some_and(|it| it == "kubectl-lanekeeper") {
        command = command.bin_name("kubectl lanekeeper");
    }
    Cli::from_arg_matches_mut(&mut command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// Reports the problems of a command's source.
fn report(problems: &[Problem]) {
    for problem in problems {
        // If standard error is closed, there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "lanekeeper: {}", problem.message);
    }
}

/// Prints an answer. A reader that has read enough, such as `head`, may close the pipe.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("can't write the output"),
    }
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another cryptography provider is installed already");
    }
    match cli.command {
        Command::Serve(arguments) => {
            telemetry::start();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .context("can't start the runtime")?;
            let ended = runtime.block_on(serve::serve(arguments));
            runtime.shutdown_background();
            ended?;
            Ok(0)
        }
        Command::Plan(arguments) => {
            let Plan { file, delete, in_order, source, unschedulable_vm, output } = arguments;
            let policy = Policy {
                deny_unschedulable: unschedulable_vm == Unschedulable::Deny,
                names_all: true,
                ..Policy::default()
            };
            let mode = Mode { delete, in_order, policy };
            let plan = plan(&file, source.once()?, &mode, output.into())?;
            report(&plan.problems);
            print(&plan.text)?;
            Ok(u8::from(!plan.admitted))
        }
        Command::Check(Reading { source, output }) => {
            let checked = check(source.once()?, output.into())?;
            print(&checked.text)?;
            Ok(u8::from(!checked.clean))
        }
        Command::Manifests(arguments) => {
            let text = match arguments.job()? {
                Job::Installation(installation) => manifests(&installation)?,
                Job::Wiring(it) => wiring(&it)?,
            };
            print(&text)?;
            Ok(0)
        }
        Command::Doctor(arguments) => {
            let cli::Doctor { scheduler, timeout, administration } = arguments;
            let Administration { place: Place { kubeconfig, namespace }, output } = administration;
            let settings = Doctor { kubeconfig, namespace, scheduler, timeout };
            let diagnosis = doctor(&settings, output.into())?;
            print(&diagnosis.text)?;
            Ok(match (diagnosis.failed, diagnosis.unknown) {
                (true, _) => 1,
                (false, true) => FAILED,
                (false, false) => 0,
            })
        }
        Command::Cleanup(arguments) => {
            let cli::Cleanup { dry_run, timeout, administration } = arguments;
            let Administration { place: Place { kubeconfig, namespace }, output } = administration;
            let settings = Cleanup { kubeconfig, namespace, dry_run, timeout };
            let mut notice = |text: &str| {
                // If standard error is closed, there is nobody to tell.
                let _ = writeln!(std::io::stderr(), "lanekeeper: {text}");
            };
            let cleaned = cleanup(&settings, output.into(), &mut notice)?;
            print(&cleaned.text)?;
            Ok(u8::from(!cleaned.clean))
        }
        Command::Certs(cli::Certs::Ca(command)) => {
            let (Place { kubeconfig, namespace }, action) = match command {
                cli::Ca::Show(place) => (place, Action::Show),
                cli::Ca::Status(Administration { place, output }) => {
                    (place, Action::Status(output.into()))
                }
                cli::Ca::Next(place) => (place, Action::Next),
                cli::Ca::Promote(place) => (place, Action::Promote),
                cli::Ca::Retire(place) => (place, Action::Retire),
            };
            let answer = certs(&Certs { kubeconfig, namespace }, action)?;
            print(&answer.text)?;
            Ok(u8::from(answer.due))
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lanekeeper", &mut script);
            print(&String::from_utf8(script)?)?;
            Ok(0)
        }
        Command::Explain(arguments) => {
            let explanation = explain(arguments.what)?;
            report(&explanation.problems);
            print(&explanation.text)?;
            Ok(u8::from(!explanation.feasible))
        }
    }
}

fn explain(what: Explained) -> anyhow::Result<Explanation> {
    Ok(match what {
        Explained::Vm { vm, file, reading: Reading { source, output } } => {
            explain::vm(vm.as_deref(), file.as_deref(), source.once()?, output.into())?
        }
        Explained::Host { host, reading: Reading { source, output } } => {
            explain::host(&host, source.once()?, output.into())?
        }
        Explained::Network { network, reading: Reading { source, output } } => {
            explain::vm_network(&network, source.once()?, output.into())?
        }
        Explained::ClusterNetwork { cluster_network, reading: Reading { source, output } } => {
            explain::cluster_network(&cluster_network, source.once()?, output.into())?
        }
    })
}
