//! Arguments, as typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cluster::{Activation, Options};
use crate::commands::Form;
use crate::k8s::Decoder;
use crate::k8s::replies::Rejections;
use crate::source::{self, Once, OnceError};

/// Harvester's own agent.
const TRUSTED_USER: &str = "system:serviceaccount:harvester-system:harvester-network-controller";

/// Keeps KubeVirt virtual machines on hosts where their networks are up, and keeps network changes
/// from cutting off running machines.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer the scheduler's extender calls and the API server's admission webhooks.
    ///
    /// It logs on standard error: as JSON, or plainly on a terminal. `RUST_LOG=lanekeeper=debug`
    /// logs each call.
    Serve(Serve),
    /// Say host by host whether a VM can run there, as far as its networks go, and why not.
    ///
    /// Exit status: 0 if some host fits, 1 if none does, 2 if the VM was not found or a file could
    /// not be read. An object that can't be read is told on standard error: the answer may lack
    /// what it would say.
    Explain(Explain),
    /// Say what a change would do, as the webhooks would judge it: the verdict of every rule, the
    /// hosts that cluster networks and VMs gain and lose.
    ///
    /// All objects of the file are one change: each is mutated, and then judged against the state
    /// with all of them in it. Exit status: 0 if it would be admitted, with warnings or without, 1
    /// if a rule refuses it, 2 if something could not be read.
    Plan(Plan),
    /// Print all that an installation applies, as one stream of YAML: definitions, namespace,
    /// access, webhooks. `lanekeeper manifests ... | kubectl apply --server-side -f -`
    ///
    /// The server itself runs outside the cluster, at --url. What kube-scheduler needs is no object
    /// of the API: see manifests/kube-scheduler/.
    Manifests(Manifests),
}

/// Where the cluster's objects come from, and how they are read.
#[derive(Args, Debug)]
pub struct Source {
    /// Manifests: a directory, read recursively (*.yaml, *.yml, *.json), or one file, such as a
    /// `kubectl get ... -o yaml` dump.
    #[arg(long, value_name = "DIR|FILE", conflicts_with = "kubeconfig")]
    pub cluster: Option<PathBuf>,

    /// The cluster itself: how its API server is reached. Without this and --cluster, what
    /// KUBECONFIG names, else ~/.kube/config, else the pod's own service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Whether a host that reports nothing of an uplink has it: `covered`, it does; `reported`, a
    /// VlanStatus must say that it is ready.
    #[arg(long, value_enum, default_value = "covered")]
    pub activation: ActivationArg,

    /// Take a bridge named `foo-br` as cluster network `foo`'s even where there is no such one.
    #[arg(long)]
    pub strict_vm_networks: bool,

    /// The namespace in which Multus looks for a default network that names none.
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
    /// The manifests, if it is those, which are not looked at yet.
    #[must_use]
    pub fn manifests(&self) -> Option<source::Manifests> {
        Some(source::Manifests::new(self.cluster.clone()?, self.decoder(), self.options()))
    }

    /// The source, to be read once.
    ///
    /// # Errors
    /// If there is no cluster, or it can't be used.
    pub fn once(&self) -> Result<Once, OnceError> {
        match self.manifests() {
            Some(manifests) => Ok(Once::manifests(manifests)),
            None => Once::live(self.kubeconfig.as_deref(), self.decoder(), self.options()),
        }
    }

    /// How facts are read.
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

    /// Where the extender and the webhooks listen, over HTTPS.
    #[arg(long, default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Where /livez, /readyz and /metrics are, over plain HTTP.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub admin_listen: SocketAddr,

    /// The server's certificate, with those that lead to its CA, in PEM. It is read again when it
    /// changes. Without it one for localhost is made under certs/dev/, its CA being
    /// certs/dev/ca.crt.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The key of --tls-cert, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Answer only clients with a certificate that was issued by a CA in this file, in PEM; all
    /// others get 401. It is read again when it changes. How kube-scheduler and the API server show
    /// a certificate is described in docs/reference.md, "Client certificates".
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// When rejected hosts are named to the scheduler: `needed`, if no host is kept, since only
    /// then it uses them; `all`, always.
    #[arg(long, value_enum, default_value = "needed")]
    pub rejections: RejectionsArg,

    /// The largest body of a scheduler's call: bytes, or with a unit, KiB, MiB or GiB.
    #[arg(long, default_value = "128MiB", value_name = "SIZE", value_parser = size)]
    pub max_filter_body: usize,

    /// What the bodies of all calls in flight may take together; beyond it, calls are answered
    /// with 503 at once.
    #[arg(long, default_value = "256MiB", value_name = "SIZE", value_parser = size)]
    pub max_body_memory: usize,

    /// A user who keeps cluster network `mgmt` and its records, which others may not touch. Can be
    /// given several times, and replaces the default.
    #[arg(long = "trusted-user", default_value = TRUSTED_USER, value_name = "USER")]
    pub trusted_users: Vec<String>,

    /// What becomes of a VM that no host can run, since its cluster networks share none, or since
    /// one of its VM networks does not exist: `warn`, it is admitted with a warning; `deny`, it is
    /// refused.
    #[arg(long, value_enum, default_value = "warn")]
    pub unschedulable_vm: Unschedulable,
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
    /// What to explain.
    #[command(subcommand)]
    pub what: Explained,
}

/// What can be explained.
#[derive(Debug, Subcommand)]
pub enum Explained {
    /// Where a VM can run. If there is no VM of this name, its running instance is explained.
    Vm {
        /// The VM, as NAMESPACE/NAME.
        #[arg(value_name = "NAMESPACE/NAME")]
        vm: String,

        /// Where the cluster's objects come from.
        #[command(flatten)]
        source: Source,

        /// The form of the answer.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct Plan {
    /// The change: objects in YAML or JSON, as for `kubectl replace`.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,

    /// The objects are to be deleted, and not applied.
    #[arg(long)]
    pub delete: bool,

    /// Judge the objects one after the other, as the API server would if they were applied so.
    #[arg(long)]
    pub in_order: bool,

    /// Where the cluster's objects come from.
    #[command(flatten)]
    pub source: Source,

    /// What becomes of a VM that no host can run: `warn` or `deny`, as for `serve`.
    #[arg(long, value_enum, default_value = "warn")]
    pub unschedulable_vm: Unschedulable,

    /// The form of the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

/// Arguments of `manifests`.
#[derive(Args, Debug)]
pub struct Manifests {
    /// The namespace that is ours.
    #[arg(long, default_value = "lanekeeper-system", value_name = "NAMESPACE")]
    pub namespace: String,

    /// Where the server is, outside the cluster: https://HOST:PORT, by a name that its certificate
    /// is for.
    #[arg(long, value_name = "URL", value_parser = https)]
    pub url: String,

    /// The certificate, in PEM, of the CA that the server's own is under.
    #[arg(long, value_name = "FILE")]
    pub ca_file: PathBuf,

    /// A user who keeps the records of `mgmt`, as for `serve`.
    #[arg(long = "trusted-user", default_value = TRUSTED_USER, value_name = "USER")]
    pub trusted_users: Vec<String>,
}

/// The form of an answer.
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
    #[error("it must begin with https://")]
    NotHttps,
    #[error("it must be https://HOST:PORT")]
    NotAnAddress,
    #[error("{0:?} is no size")]
    NotASize(String),
    #[error("{0:?} is no unit; there are KiB, MiB and GiB")]
    NotAUnit(String),
    #[error("{0:?} is too large")]
    TooLarge(String),
}

/// An address that webhooks may have.
fn https(text: &str) -> Result<String, Unusable> {
    let host = text.strip_prefix("https://").ok_or(Unusable::NotHttps)?;
    if host.is_empty() || host.contains(['?', '#', '@']) {
        return Err(Unusable::NotAnAddress);
    }
    Ok(text.to_owned())
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

    use super::{Cli, size};

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
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
