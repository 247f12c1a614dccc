//! The command line's arguments.

mod administration;
mod manifests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cluster::{Activation, Options, is_dns_subdomain};
use crate::k8s::replies::Rejections;
use crate::k8s::{Decoder, TRUSTED_USERS};
use crate::pki::AltName;
use crate::source::{self, Once, OnceError};
use crate::view::Form;

pub use administration::{Administration, Ca, Certs, Cleanup, Doctor, Place};
pub use manifests::{CertificateArg, Job, Manifests, OverlayArg, SchedulerArg, WrongArguments};

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

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Where the cluster's objects come from.
    #[command(flatten)]
    pub source: Source,

    /// The address of the extender and the webhooks, over HTTPS.
    #[arg(long, default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// The address of /livez, /readyz and /metrics, over plain HTTP.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub admin_listen: SocketAddr,

    /// The serving certificate with its chain, in PEM. The file is read again when it changes.
    /// Without this flag, the certificate is that of the Secret `lanekeeper-tls`, where the leader
    /// keeps one; with --cluster, one for localhost is made in certs/dev/, with the CA
    /// certs/dev/ca.crt.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The key of --tls-cert, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Answer only clients with a certificate of a CA in this file, in PEM. All others get 401. The
    /// file is read again when it changes. docs/reference.md, "Client certificates", describes how
    /// kube-scheduler and the API server show a certificate.
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// When rejected hosts are named to the scheduler. `needed`: only if no host is kept, since the
    /// scheduler uses the reasons only then. `all`: always.
    #[arg(long, value_enum, default_value = "needed")]
    pub rejections: RejectionsArg,

    /// The largest body of a scheduler's request: a number of bytes, or a whole number with the
    /// unit KiB, MiB or GiB.
    #[arg(long, default_value = "128MiB", value_name = "SIZE", value_parser = size)]
    pub max_filter_body: usize,

    /// The memory for all requests in flight. A request takes up to twice the size of its body.
    /// Requests beyond this limit are answered with 503 at once.
    #[arg(long, default_value = "256MiB", value_name = "SIZE", value_parser = size)]
    pub max_body_memory: usize,

    /// A user who may delete cluster network `mgmt`, write its network configs, and give a VM a MAC
    /// address that another one has. Repeatable, and replaces the default.
    #[arg(long = "trusted-user", default_values = TRUSTED_USERS, value_name = "USER")]
    pub trusted_users: Vec<String>,

    /// What happens to a VM that no host can run, because no host has all its cluster networks or
    /// one of its VM networks does not exist. `warn`: it is admitted with a warning. `deny`: it is
    /// refused.
    #[arg(long, value_enum, default_value = "warn")]
    pub unschedulable_vm: Unschedulable,

    /// What the leader keeps in the cluster. `manage`: host labels, cluster network `mgmt`, the
    /// condition `ready` of cluster networks, the label `ready` of VM networks, and `uplink-mtu`.
    /// `external`: none of these, since Harvester's agent and manager keep them.
    #[arg(long, value_enum, default_value = "manage")]
    pub node_labels: NodeLabels,

    /// The namespace of the Lease, the Secret and the Service. Without this flag, it is the namespace
    /// that the process runs in, or else `lanekeeper-system`.
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    pub namespace: Option<String>,

    /// A further DNS name or IP address in the serving certificate that Lanekeeper issues. Repeatable.
    #[arg(long = "tls-san", value_name = "NAME", conflicts_with_all = ["tls_cert", "cluster"])]
    pub tls_sans: Vec<AltName>,

    /// Whether VMs and VMIs get node affinity for their cluster networks. `manage`: they do. `off`:
    /// they are left alone, and the extender alone keeps them off other hosts. That is for VMs whose
    /// manifests a tool keeps as they are in Git, and for KubeVirt's rollout strategy `Stage`.
    #[arg(long, value_enum, default_value = "manage")]
    pub vm_affinity: VmAffinity,
}

/// The values of `--node-labels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the option says what they mean")]
pub enum NodeLabels {
    Manage,
    External,
}

/// The values of `--vm-affinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the option says what they mean")]
pub enum VmAffinity {
    Manage,
    Off,
}

/// The values of `--unschedulable-vm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the option says what they mean")]
pub enum Unschedulable {
    Warn,
    Deny,
}

/// The values of `--rejections`.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(missing_docs, reason = "the option says what they mean")]
pub enum RejectionsArg {
    Needed,
    All,
}

impl From<RejectionsArg> for Rejections {
    fn from(argument: RejectionsArg) -> Self {
        match argument {
            RejectionsArg::Needed => Self::Needed,
            RejectionsArg::All => Self::All,
        }
    }
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct Explain {
    /// The object to explain.
    #[command(subcommand)]
    pub what: Explained,
}

/// What can be explained.
#[derive(Debug, Subcommand)]
pub enum Explained {
    /// Explain on which hosts a VM can run. If there is no VM of this name, its VMI is explained.
    Vm {
        /// The VM. With --file it may be left out if the file holds only one.
        #[arg(value_name = "NAMESPACE/NAME", required_unless_present = "file")]
        vm: Option<String>,

        /// A file with a VM that is not made yet, in YAML or JSON, and with what is made with it.
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,

        /// How the cluster is read, and the answer is printed.
        #[command(flatten)]
        reading: Reading,
    },
    /// Explain which cluster networks are active on a host, and which VMs can run there. Exit
    /// status 1 if none of the VMs can.
    Host {
        /// The host.
        #[arg(value_name = "NAME")]
        host: String,

        /// How the cluster is read, and the answer is printed.
        #[command(flatten)]
        reading: Reading,
    },
    /// Explain a VM network: its cluster network, the hosts on which a VM can use it, and its VMs.
    Network {
        /// The VM network.
        #[arg(value_name = "NAMESPACE/NAME")]
        network: String,

        /// How the cluster is read, and the answer is printed.
        #[command(flatten)]
        reading: Reading,
    },
    /// Explain a cluster network: the hosts on which it is active, its network configs and its VM
    /// networks.
    ClusterNetwork {
        /// The cluster network.
        #[arg(value_name = "NAME")]
        cluster_network: String,

        /// How the cluster is read, and the answer is printed.
        #[command(flatten)]
        reading: Reading,
    },
}

/// How `explain` and `check` read the cluster and print their answers.
#[derive(Args, Debug)]
pub struct Reading {
    /// Where the cluster's objects come from.
    #[command(flatten)]
    pub source: Source,

    /// The output format.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct Plan {
    /// The change: objects in YAML or JSON, as for `kubectl replace`.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,

    /// Delete the objects rather than apply them.
    #[arg(long)]
    pub delete: bool,

    /// Judge the objects one after the other, each against the state that the ones before it leave.
    #[arg(long)]
    pub in_order: bool,

    /// Where the cluster's objects come from.
    #[command(flatten)]
    pub source: Source,

    /// What happens to a VM that no host can run, as for `serve`.
    #[arg(long, value_enum, default_value = "warn")]
    pub unschedulable_vm: Unschedulable,

    /// The output format.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

/// The output formats.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(missing_docs, reason = "the option says what they mean")]
pub enum Output {
    Table,
    Json,
    Yaml,
}

impl From<Output> for Form {
    fn from(argument: Output) -> Self {
        match argument {
            Output::Table => Self::Table,
            Output::Json => Self::Json,
            Output::Yaml => Self::Yaml,
        }
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
