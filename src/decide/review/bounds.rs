//! Bounds that several rules share with the definitions of our kinds.

/// The greatest length of a bridge's name, in characters: that of any network interface.
pub(super) const MAX_BRIDGE_NAME: usize = 15;
/// The greatest length of a cluster network's name, in characters: its bridge is `<name>-br`.
pub const MAX_NAME: usize = MAX_BRIDGE_NAME - "-br".len();
/// The lowest MTU, in bytes, that may be set.
pub const MIN_MTU: i64 = 576;
/// The highest MTU, in bytes, that may be set.
pub const MAX_MTU: i64 = 9000;

/// Returns whether an MTU may be set. 0 stands for the default.
pub(super) fn mtu_in_range(mtu: i64) -> bool {
    mtu == 0 || (MIN_MTU..=MAX_MTU).contains(&mtu)
}
