//! The options that decide how facts are interpreted. They are fixed when the program starts.

/// Whether an uplink counts as ready on a host that reports nothing about the uplink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// The uplink counts as ready: a network config that covers the host is enough.
    #[default]
    Covered,
    /// The uplink does not count: a `VlanStatus` must report it as ready.
    Reported,
}

/// The options that decide how facts are interpreted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether uplinks count as ready on a host that reports nothing.
    pub activation: Activation,
    /// Whether a bridge named `foo-br` belongs to cluster network `foo` even if there is no `foo`.
    pub strict_vm_networks: bool,
}
