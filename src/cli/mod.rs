//! The command line's arguments.

mod administration;
mod manifests;
mod people;
mod serve;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::cluster::{Activation, Options, is_dns_subdomain};
use crate::k8s::Decoder;
use crate::source::{self, Once, OnceError};

pub use administration::{Administration, Ca, Certs, Cleanup, Doctor, Place};
pub use manifests::{CertificateArg, Job, Manifests, OverlayArg, SchedulerArg, WrongArguments};
pub use people::{Explain, Explained, Output, Plan, Reading};
pub use serve::{NodeLabels, RejectionsArg, Serve, Unschedulable, VmAffinity};

/// Keeps KubeVirt virtual machines on hosts where their networks are up, and keeps network changes
/// from cutting off running machines.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer the scheduler's extender requests and the API server's admission requests.
    ///
    /// Logs to standard error: as plain text on a terminal, otherwise as JSON.
    /// `RUST_LOG=lanekeeper=debug` logs each request.
    Serve(Serve),
    /// Say on which hosts a VM can run as far as its networks and its own node affinity go, and if
    /// not, why; or the same of a host, a VM network or a cluster network.
    ///
    /// Objects that can't be read are reported on standard error, since the answer may lack what
    /// they say. Exit status: 0 if some host fits, 1 if no host fits, 2 if the object was not
    /// found, something could not be read, or no host is known.
    Explain(Explain),
    /// Say what a change would do: the verdict of every rule of the webhooks, and the hosts that
    /// cluster networks and VMs gain and lose.
    ///
    /// All objects of the file are one change: each is mutated, and then judged with all the others
    /// applied, as a user who is not trusted. Objects that can't be read are reported on standard
    /// error, since the answer may lack what they say. Exit status: 0 if the change would be admitted, with
    /// or without warnings, 1 if a rule refuses it, 2 if something could not be read.
    Plan(Plan),
    /// Say everything that is wrong now: objects that can't be read, references to what does not
    /// exist, overlaps, NICs and uplinks that are down, VMs with nowhere to go, and running VMs that
    /// are cut off.
    ///
    /// Exit status: 0 if nothing is wrong, 1 if something is, 2 if the source could not be read.
    Check(Reading),
    /// Print everything that an installation applies, as one stream of YAML: definitions,
    /// namespace, access rights, the Deployment and what stands before it, and webhooks.
    ///
    /// Apply the output with `kubectl apply --server-side -f -`. With --scheduler, print what makes
    /// kube-scheduler ask Lanekeeper instead.
    Manifests(Manifests),
    /// Check whether an installation is right, down to whether the scheduler asks Lanekeeper. Each
    /// failure names its remedy.
    ///
    /// Makes a network config in a dry run, and a canary pod, which asks for a VM network that does
    /// not exist and is deleted again. Exit status: 0 if nothing is wrong, 1 if a check failed, 2 if
    /// something could not be checked.
    Doctor(Doctor),
    /// Take out of the cluster's objects what Lanekeeper put into them, before an uninstall.
    ///
    /// First deletes the webhook configurations `lanekeeper`, and waits until no leader holds the
    /// Lease: stop the server meanwhile. Then takes the node affinity out of VMs, and the labels and
    /// annotations that Lanekeeper set off hosts and VM networks. Running VMIs keep the affinity
    /// until their VM is restarted. Exit status: 0 if nothing is left, 1 if something could not be
    /// cleaned or, with --dry-run, if there is something to clean, 2 if cleanup could not begin.
    Cleanup(Cleanup),
    /// Look after the certificates that Lanekeeper issues.
    #[command(subcommand)]
    Certs(Certs),
    /// Print a script that completes commands and flags in a shell.
    ///
    /// For bash, for example: `lanekeeper completions bash > /etc/bash_completion.d/lanekeeper`.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Where the cluster's objects come from, and how they are read.
#[derive(Args, Debug)]
pub struct Source {
    /// Read manifests in place of an API server: a directory, which is read recursively (*.yaml,
    /// *.yml, *.json), or a file, such as a dump by `kubectl get ... -o yaml`.
    #[arg(long, value_name = "DIR|FILE", conflicts_with = "kubeconfig")]
    pub cluster: Option<PathBuf>,

    /// The kubeconfig of the API server. Without this and --cluster, the file that KUBECONFIG names
    /// is used, or ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Whether a host that reports nothing about an uplink has it. `covered`: it has. `reported`:
    /// it has not, until a VlanStatus says that the uplink is ready.
    #[arg(long, value_enum, default_value = "covered")]
    pub activation: ActivationArg,

    /// Treat a bridge `foo-br` as cluster network `foo`'s even if there is no such cluster network.
    #[arg(long)]
    pub strict_vm_networks: bool,

    /// The namespace in which Multus looks for a default network that names no namespace.
    #[arg(long, default_value = "kube-system", value_name = "NAMESPACE")]
    pub multus_namespace: String,
}

/// The values of `--activation`.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(missing_docs, reason = "the option says what they mean")]
pub enum ActivationArg {
    Covered,
    Reported,
}

impl Source {
    /// The manifests, if `--cluster` is given. They are not read yet.
    #[must_use]
    pub fn manifests(&self) -> Option<source::Manifests> {
        Some(source::Manifests::new(self.cluster.clone()?, self.decoder(), self.options()))
    }

    /// The source for a command that reads it once.
    ///
    /// # Errors
    /// If no cluster is named, or its configuration can't be used.
    pub fn once(&self) -> Result<Once, OnceError> {
        match self.manifests() {
            Some(manifests) => Ok(Once::manifests(manifests)),
            None => Once::live(self.kubeconfig.as_deref(), self.decoder(), self.options()),
        }
    }

    /// How the index treats facts.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            activation: match self.activation {
                ActivationArg::Covered => Activation::Covered,
                ActivationArg::Reported => Activation::Reported,
            },
            strict_vm_networks: self.strict_vm_networks,
        }
    }

    /// How objects are read.
    #[must_use]
    pub fn decoder(&self) -> Decoder {
        Decoder { multus_namespace: self.multus_namespace.as_str().into(), ..Decoder::default() }
    }
}

/// Why an argument can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("{0:?} is not a size")]
    NotASize(String),
    #[error("{0:?} is not a unit; use KiB, MiB or GiB")]
    NotAUnit(String),
    #[error("{0:?} is too large")]
    TooLarge(String),
    #[error("{0:?} is not a number of seconds from 1 to 86400")]
    NotSeconds(String),
    #[error(
        "a namespace has at most 63 lower-case letters, digits and hyphens, and neither begins nor \
         ends with a hyphen"
    )]
    NotANamespace,
}

/// Reads a number of seconds, up to a day.
fn seconds(text: &str) -> Result<Duration, Unusable> {
    let seconds: Option<u64> = text.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| Unusable::NotSeconds(text.to_owned()))
}

/// Checks the name of a namespace, which becomes a part of paths.
fn namespace(text: &str) -> Result<String, Unusable> {
    let is_label = is_dns_subdomain(text) && text.len() <= 63 && !text.contains('.');
    is_label.then(|| text.to_owned()).ok_or(Unusable::NotANamespace)
}

fn size(text: &str) -> Result<usize, Unusable> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: usize = match text.get(digits.len()..).unwrap_or_default() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        unit => return Err(Unusable::NotAUnit(unit.to_owned())),
    };
    let number: usize = digits.parse().map_err(|_| Unusable::NotASize(text.to_owned()))?;
    number.checked_mul(unit).ok_or_else(|| Unusable::TooLarge(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, Unusable, namespace, seconds, size};

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_is_a_second_to_a_day_and_a_namespace_a_label() {
        assert_eq!(seconds("1").unwrap().as_secs(), 1);
        assert!(seconds("86400").is_ok());
        for text in ["0", "86401", "-1", "1s", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(namespace(&"a".repeat(63)).is_ok());
        for text in ["", "a.b", "a/b", "A", "..", &"a".repeat(64)] {
            assert!(namespace(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_namespace_is_a_dns_label() {
        for name in ["a", "lanekeeper-system", "0", &"a".repeat(63)] {
            assert_eq!(namespace(name).as_deref(), Ok(name));
        }
        for name in ["", "a.b", "-a", "a-", "A", "a b", &"a".repeat(64)] {
            assert_eq!(namespace(name), Err(Unusable::NotANamespace), "{name}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("17"), Ok(17));
        assert_eq!(size("2KiB"), Ok(2048));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for text in ["", "MiB", "1MB", "-1", "1.5GiB", "99999999999999999999", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
