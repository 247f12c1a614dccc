//! Numbers that several rules and the definitions of our kinds share.

/// How long a cluster network's name may be: with `-br` behind it, it must fit an interface's 15
/// characters.
pub const MAX_NAME: usize = 12;
/// The lowest MTU, in bytes, that may be set.
pub const MIN_MTU: i64 = 576;
/// The highest MTU, in bytes, that may be set.
pub const MAX_MTU: i64 = 9000;

/// Returns whether an MTU may be set: 0 stands for the default.
pub(super) fn mtu_in_range(mtu: i64) -> bool {
    mtu == 0 || (MIN_MTU..=MAX_MTU).contains(&mtu)
}
