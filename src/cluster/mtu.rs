//! The effective MTU of what is written in an object.

/// The MTU, in bytes, that an absent MTU and 0 stand for.
pub const DEFAULT_MTU: i64 = 1500;

/// The effective MTU, in bytes, of a written one: 0 means 1500.
#[must_use]
pub fn effective_mtu(written: i64) -> i64 {
    if written == 0 { DEFAULT_MTU } else { written }
}
