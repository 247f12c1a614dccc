//! On which hosts a VM can run, and if it can't, why; and the same from the side of a host, a VM
//! network or a cluster network (docs/reference.md, "Commands").

mod host;
mod network;
mod row;
mod vm;

pub use host::HostView;
pub use network::{ClusterNetworkView, VmNetworkView};
pub use row::{Row, any_fits};
pub use vm::VmView;
