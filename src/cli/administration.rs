//! The arguments of the commands by which an administrator looks after an installation.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Output, namespace, seconds};

/// Which installation a command is about.
#[derive(Args, Debug)]
pub struct Place {
    /// The administrator's kubeconfig. Without this flag, the file that KUBECONFIG names is used, or
    /// ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The namespace of Lanekeeper.
    #[arg(
        long,
        default_value = "lanekeeper-system",
        value_name = "NAMESPACE",
        value_parser = namespace
    )]
    pub namespace: String,
}

/// Which installation a command is about, and how it prints its answer.
#[derive(Args, Debug)]
pub struct Administration {
    /// Which installation.
    #[command(flatten)]
    pub place: Place,

    /// The output format.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

/// The subcommands of `certs`.
#[derive(Debug, Subcommand)]
pub enum Certs {
    /// Look after the certificate authority (CA) that issues the serving certificate.
    ///
    /// The CA lasts ten years. A new one takes three steps, since kube-scheduler reads the CA of its
    /// extender only when it starts: `next` publishes a new CA beside the current one; after every
    /// kube-scheduler was restarted with the output of `show`, `promote` issues serving certificates
    /// under the new CA; `retire` stops trusting the old one. `status` and the metric
    /// `lanekeeper_ca_step_due` say which step is due.
    #[command(subcommand)]
    Ca(Ca),
}

/// The subcommands of `certs ca`.
#[derive(Debug, Subcommand)]
pub enum Ca {
    /// Print every CA certificate to trust, in PEM: what kube-scheduler's configuration needs, as
    /// `caData` of the extender, or in the file that `caFile` names.
    Show(Place),
    /// Print the CAs, the serving certificate, and which step is due.
    ///
    /// Exit status: 0 if nothing is due, 1 if a step or a serving certificate is due, 2 if the Secret
    /// could not be read.
    Status(Administration),
    /// Publish a new CA beside the current one, which goes on issuing the serving certificate.
    ///
    /// The leader makes the API server trust both within seconds. Then give the output of
    /// `lanekeeper certs ca show` to every kube-scheduler, restart it, and run `promote`.
    Next(Place),
    /// Issue serving certificates under the next CA. The CA before stays trusted until `retire`.
    ///
    /// Run this only after every kube-scheduler was restarted with the output of `lanekeeper certs ca
    /// show`: one that was not refuses the new certificate, and its VM pods stay pending. The command
    /// is refused while the API server does not trust the next CA.
    Promote(Place),
    /// Stop trusting the old CA. Nothing needs a restart.
    ///
    /// The command is refused in the first minute after `promote`, while a replica may still serve
    /// the certificate before.
    Retire(Place),
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// The name of the scheduler that VMs use, as in their `schedulerName`.
    #[arg(long, default_value = "default-scheduler", value_name = "NAME")]
    pub scheduler: String,

    /// How long the canary pod waits for the scheduler's answer, in seconds.
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Duration,

    /// Which installation, and how the answer is printed.
    #[command(flatten)]
    pub administration: Administration,
}

/// Arguments of `cleanup`.
#[derive(Args, Debug)]
pub struct Cleanup {
    /// Change nothing, and list what would be done.
    #[arg(long)]
    pub dry_run: bool,

    /// How long to wait until no leader holds the Lease, in seconds.
    #[arg(long, default_value = "120", value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Duration,

    /// Which installation, and how the answer is printed.
    #[command(flatten)]
    pub administration: Administration,
}
