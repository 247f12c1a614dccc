//! What an X.509 certificate says.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::names::{AltName, AltNames};
use super::pem::Pem;
use super::{Error, Validity};

/// A certificate, and what we read of it.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// Its subject.
    pub subject: String,
    /// Its issuer's subject.
    pub issuer: String,
    /// When it is valid.
    pub validity: Validity,
    /// Its DNS names and IP addresses.
    pub names: AltNames,
    /// Whether it may issue certificates.
    pub is_ca: bool,
    key_id: Option<Vec<u8>>,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// If the text contains no certificate, or one that can't be read.
    pub fn first(pem: &Pem<'_>) -> Result<Self, Error> {
        let mut all = CertificateDer::pem_slice_iter(pem.bytes);
        match all.next() {
            Some(Ok(der)) => Self::of(der, pem),
            Some(Err(error)) => {
                Err(Error::unusable(pem, format!("not a PEM certificate: {error}")))
            }
            None => Err(Error::unusable(pem, "it contains no certificate")),
        }
    }

    /// Reads every certificate of a PEM text, which may be none.
    ///
    /// # Errors
    /// If one can't be read.
    pub fn all(pem: &Pem<'_>) -> Result<Vec<Self>, Error> {
        CertificateDer::pem_slice_iter(pem.bytes)
            .map(|der| {
                let der = der.map_err(|error| {
                    Error::unusable(pem, format!("not a PEM certificate: {error}"))
                })?;
                Self::of(der, pem)
            })
            .collect()
    }

    fn of(der: CertificateDer<'static>, pem: &Pem<'_>) -> Result<Self, Error> {
        let (_, parsed) = X509Certificate::from_der(&der)
            .map_err(|error| Error::unusable(pem, format!("not an X.509 certificate: {error}")))?;
        let mut found = Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            validity: Validity {
                from: parsed.validity().not_before.timestamp(),
                until: parsed.validity().not_after.timestamp(),
            },
            names: AltNames::new(),
            is_ca: parsed.is_ca(),
            key_id: None,
            der: CertificateDer::from(Vec::new()),
        };
        for extension in parsed.iter_extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => found.key_id = Some(id.0.to_vec()),
                ParsedExtension::SubjectAlternativeName(names) => {
                    found.names = names.general_names.iter().filter_map(alt_name).collect();
                }
                _ => {}
            }
        }
        found.der = der;
        Ok(found)
    }

    /// The fingerprint of the certificate's key, in hexadecimal.
    #[must_use]
    pub fn key_id(&self) -> Option<String> {
        self.key_id.as_deref().map(hexadecimal)
    }

    /// Returns whether clients that trust this CA accept the certificate for servers at `now`, in
    /// Unix time: the CA's key made its signature. Its names are not looked at.
    #[must_use]
    pub fn is_issued_by(&self, ca: &Self, now: i64) -> bool {
        let mut roots = RootCertStore::empty();
        let (Ok(()), Ok(parsed)) =
            (roots.add(ca.der.clone()), ParsedCertificate::try_from(&self.der))
        else {
            return false;
        };
        let now = Duration::from_secs(u64::try_from(now).unwrap_or_default());
        let now = UnixTime::since_unix_epoch(now);
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms).is_ok()
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn alt_name(name: &GeneralName<'_>) -> Option<AltName> {
    match name {
        GeneralName::DNSName(name) => Some(AltName::Dns(name.to_ascii_lowercase())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(AltName::Ip)
        }
        _ => None,
    }
}
