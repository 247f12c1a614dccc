//! `lanekeeper explain`: on which hosts a VM can run, and if it can't, why; and the same from the
//! side of a host, a VM network or a cluster network (docs/reference.md, "Commands").

mod answer;
mod host;
mod network;
mod vm;

pub use answer::{Error, Explanation};
pub use host::host;
pub use network::{cluster_network, vm_network};
pub use vm::vm;
