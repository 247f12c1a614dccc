//! How facts are interpreted: fixed when the program starts.

/// Whether a host that reports nothing of an uplink counts as having it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// It does: a network config that covers the host is enough.
    #[default]
    Covered,
    /// It does not: a `VlanStatus` must say that the uplink is ready.
    Reported,
}

/// How facts are interpreted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether a host that reports nothing counts as having its uplinks.
    pub activation: Activation,
    /// Whether a bridge named `foo-br` speaks of a cluster network `foo` that does not exist.
    pub strict_vm_networks: bool,
}
