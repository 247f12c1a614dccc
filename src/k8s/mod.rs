//! Wire ⇄ facts: the shapes of Kubernetes' objects and messages, which no other module knows. It
//! has no client and nothing asynchronous.

pub mod admission;
mod affinity;
mod cni;
pub mod crds;
mod decode;
pub mod documents;
pub mod extender;
mod fold;
mod harvester;
mod kubevirt;
mod meta;
mod multus;
mod names;
mod node;
pub mod objects;
mod patch;
mod plain;
mod pods;
mod proposals;
pub mod removal;
pub mod replies;
mod scan;
mod selectors;
mod uplink;
mod victims;

pub use decode::{Decoder, Malformed, read_text};
pub use harvester::{CLUSTER_NETWORK_LABEL, READY_LABEL, RECORD_PREFIX, TRUSTED_USERS};
pub use meta::UPLINK_MTU;
pub use node::WITNESS_LABEL;
pub use pods::ScheduledPod;
