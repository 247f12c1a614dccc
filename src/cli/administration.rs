//! The arguments of the commands by which an administrator looks after an installation.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Output, namespace, seconds};

/// Which installation a command is about, and how it prints its answer.
#[derive(Args, Debug)]
pub struct Administration {
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

    /// The output format.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
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
