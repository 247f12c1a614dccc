//! MTUs as they are written, and what they mean.

/// The MTU, in bytes, of a network config or VM network that gives none, or 0.
pub const DEFAULT_MTU: i64 = 1500;

/// The MTU in bytes that one which was written means: 0 means 1500.
#[must_use]
pub fn effective_mtu(written: i64) -> i64 {
    if written == 0 { DEFAULT_MTU } else { written }
}
