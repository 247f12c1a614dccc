//! The arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::k8s::TRUSTED_USERS;
use crate::k8s::replies::Rejections;
use crate::pki::AltName;

use super::{Source, namespace, size};

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

    /// The address of the web page and its JSON API, over plain HTTP. They show the cluster's networks
    /// and VMs to whoever can connect, so open the page with `kubectl port-forward`, or put something
    /// before it that knows who may see it.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub ui_listen: SocketAddr,

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
