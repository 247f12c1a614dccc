//! Keys and certificates: loads and checks them before they are used, makes them for development,
//! and is the certificate authority of an installation.

pub mod authority;
mod certificate;
mod files;
mod issue;
mod names;
mod pair;
mod pem;

use time::OffsetDateTime;

pub use certificate::Certificate;
pub use files::{Files, ca_certificates, for_development};
pub use names::{AltName, AltNames, names};
pub use pair::{Pair, without_certificate};
pub use pem::Pem;

/// Why keys and certificates can't be used or made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key can't be used.
    #[error("{what}: {why}")]
    Unusable {
        /// The file, or the key of the Secret.
        what: String,
        /// Why.
        why: String,
    },
    /// A certificate could not be made.
    #[error("can't make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Error {
    fn unusable(pem: &Pem<'_>, why: impl Into<String>) -> Self {
        Self::Unusable { what: pem.name.to_owned(), why: why.into() }
    }
}

/// When a certificate is valid, in Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not valid before then.
    pub from: i64,
    /// Not valid after then.
    pub until: i64,
}

impl Validity {
    /// Why a serving certificate is not valid now, or `None` if it is.
    #[must_use]
    pub fn fault(self) -> Option<&'static str> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        if now < self.from {
            Some("the serving certificate is not valid yet")
        } else if now > self.until {
            Some("the serving certificate has expired")
        } else {
            None
        }
    }
}
