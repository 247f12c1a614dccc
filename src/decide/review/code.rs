//! The rules' stable codes, in the order in which a denial lists violations.

use std::fmt;

/// The rule that a change breaks. `docs/rules.md` has an entry for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is documented once, under its code, in docs/rules.md")]
pub enum Code {
    Unreadable,
    CnName,
    CnMgmtDelete,
    CnInUse,
    CnMtu,
    VcMgmt,
    VcClusterNetwork,
    VcLabel,
    VcBond,
    VcMtu,
    VcOverlap,
    VcNicConflict,
    VcRunningVms,
    VcSystemNetwork,
    VcHostNetwork,
    NadConfig,
    NadClusterNetwork,
    NadMtu,
    NadChange,
    NadExclusiveVlan,
    NadInUse,
    VmMac,
    NodeRunningVms,
    NodeOverlap,
    VmNoHost,
    VmNetworkMissing,
}

impl Code {
    /// Every code, in the order in which violations are listed.
    pub const ALL: [Self; 26] = [
        Self::Unreadable,
        Self::CnName,
        Self::CnMgmtDelete,
        Self::CnInUse,
        Self::CnMtu,
        Self::VcMgmt,
        Self::VcClusterNetwork,
        Self::VcLabel,
        Self::VcBond,
        Self::VcMtu,
        Self::VcOverlap,
        Self::VcNicConflict,
        Self::VcRunningVms,
        Self::VcSystemNetwork,
        Self::VcHostNetwork,
        Self::NadConfig,
        Self::NadClusterNetwork,
        Self::NadMtu,
        Self::NadChange,
        Self::NadExclusiveVlan,
        Self::NadInUse,
        Self::VmMac,
        Self::NodeRunningVms,
        Self::NodeOverlap,
        Self::VmNoHost,
        Self::VmNetworkMissing,
    ];

    /// The code as clients see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::CnName => "cn-name",
            Self::CnMgmtDelete => "cn-mgmt-delete",
            Self::CnInUse => "cn-in-use",
            Self::CnMtu => "cn-mtu",
            Self::VcMgmt => "vc-mgmt",
            Self::VcClusterNetwork => "vc-cluster-network",
            Self::VcLabel => "vc-label",
            Self::VcBond => "vc-bond",
            Self::VcMtu => "vc-mtu",
            Self::VcOverlap => "vc-overlap",
            Self::VcNicConflict => "vc-nic-conflict",
            Self::VcRunningVms => "vc-running-vms",
            Self::VcSystemNetwork => "vc-system-network",
            Self::VcHostNetwork => "vc-host-network",
            Self::NadConfig => "nad-config",
            Self::NadClusterNetwork => "nad-cluster-network",
            Self::NadMtu => "nad-mtu",
            Self::NadChange => "nad-change",
            Self::NadExclusiveVlan => "nad-exclusive-vlan",
            Self::NadInUse => "nad-in-use",
            Self::VmMac => "vm-mac",
            Self::NodeRunningVms => "node-running-vms",
            Self::NodeOverlap => "node-overlap",
            Self::VmNoHost => "vm-no-host",
            Self::VmNetworkMissing => "vm-network-missing",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
