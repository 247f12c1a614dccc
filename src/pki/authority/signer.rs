//! A CA whose key we have.

use rcgen::{CertificateParams, Issuer, KeyPair};
use time::{Duration, OffsetDateTime};

use super::super::certificate::{Certificate, hexadecimal};
use super::super::names::AltNames;
use super::super::pair::certified;
use super::super::pem::Pem;
use super::super::{Error, issue};

/// How long a CA is valid: ten years, with their leap days.
const CA_DAYS: i64 = 3_652;
/// How long a serving certificate is valid.
const LEAF_DAYS: i64 = 90;
/// How long before its making a certificate is valid already, since clocks differ.
pub(super) const BACKDATED: Duration = Duration::hours(1);

/// A CA with its key.
pub(super) struct Signer {
    pub certificate: Certificate,
    pub cert_pem: Vec<u8>,
    pub key_pem: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A serving certificate and its key, in PEM.
pub(super) struct Leaf {
    pub cert_pem: Vec<u8>,
    pub key_pem: Vec<u8>,
}

impl Signer {
    /// Makes a new CA. Its subject has its date and a part of its key's fingerprint, since clients
    /// find the issuer of a certificate by the subject.
    pub fn make(now: OffsetDateTime) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let id = CertificateParams::default().key_identifier(&key);
        let id = hexadecimal(id.get(..4).unwrap_or(&id));
        let name = format!("Lanekeeper CA {} {id}", now.date());
        let from = now - BACKDATED;
        let key_pem = key.serialize_pem().into_bytes();
        let (made, issuer) = issue::ca(&name, key, from, from + Duration::days(CA_DAYS))?;
        let cert_pem = made.pem().into_bytes();
        let certificate = Certificate::first(&Pem { name: "the new CA", bytes: &cert_pem })?;
        Ok(Self { certificate, cert_pem, key_pem, issuer })
    }

    /// Reads a CA and its key.
    pub fn read(cert: &Pem<'_>, key: &Pem<'_>) -> Result<Self, Error> {
        let certificate = read_ca(cert)?;
        certified(cert, key)?;
        let unusable = |error: &dyn std::fmt::Display| {
            Error::unusable(key, format!("not a usable key: {error}"))
        };
        let text = std::str::from_utf8(key.bytes).map_err(|error| unusable(&error))?;
        let pair = KeyPair::from_pem(text).map_err(|error| unusable(&error))?;
        let issuer = Issuer::from_ca_cert_der(&certificate.der, pair)
            .map_err(|error| Error::unusable(cert, format!("not a CA's certificate: {error}")))?;
        let (cert_pem, key_pem) = (cert.bytes.to_vec(), key.bytes.to_vec());
        Ok(Self { certificate, cert_pem, key_pem, issuer })
    }

    /// Issues a serving certificate, which ends no later than the CA.
    pub fn issue(&self, names: &AltNames, now: OffsetDateTime) -> Result<Leaf, Error> {
        let from = now - BACKDATED;
        let last = OffsetDateTime::from_unix_timestamp(self.certificate.validity.until);
        let until = from + Duration::days(LEAF_DAYS);
        let until = last.map_or(until, |last| until.min(last));
        let key = KeyPair::generate()?;
        let made = issue::leaf("lanekeeper", names, &key, &self.issuer, from, until)?;
        let key_pem = key.serialize_pem().into_bytes();
        Ok(Leaf { cert_pem: made.pem().into_bytes(), key_pem })
    }
}

/// Reads the one certificate of a CA.
pub(super) fn read_ca(pem: &Pem<'_>) -> Result<Certificate, Error> {
    let certificate = Certificate::first(pem)?;
    if !certificate.is_ca {
        return Err(Error::unusable(pem, "not a CA's certificate"));
    }
    if Certificate::all(pem)?.len() > 1 {
        return Err(Error::unusable(pem, "it contains more than one certificate"));
    }
    Ok(certificate)
}
