//! The arguments of the commands that answer people: `explain`, `plan` and `check`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::view::Form;

use super::{Source, Unschedulable};

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

        /// A file with a VM that is not made yet, in YAML or JSON, and with what is made with it. `-` is
        /// standard input.
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
    /// The change: objects in YAML or JSON, as for `kubectl replace`. `-` is standard input.
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
