//! A text in PEM.

use std::fmt;

/// A text in PEM, with the name that errors give it: a file, or a key of the Secret.
#[derive(Clone, Copy)]
pub struct Pem<'a> {
    /// The name.
    pub name: &'a str,
    /// The text.
    pub bytes: &'a [u8],
}

impl fmt::Debug for Pem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
