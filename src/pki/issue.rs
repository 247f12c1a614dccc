//! Makes certificates: of a CA, and of a server under it.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, Error,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use super::names::{AltName, AltNames};

/// Makes a CA that issues certificates of servers, and of no further CA.
pub(super) fn ca(
    name: &str,
    key: KeyPair,
    from: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<(Certificate, Issuer<'static, KeyPair>), Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (from, until);
    let certificate = params.self_signed(&key)?;
    Ok((certificate, Issuer::new(params, key)))
}

/// Makes the certificate of a server.
pub(super) fn leaf(
    name: &str,
    names: &AltNames,
    key: &KeyPair,
    issuer: &Issuer<'static, KeyPair>,
    from: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<Certificate, Error> {
    let alt_name = |name: &AltName| {
        Ok(match name {
            AltName::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            AltName::Ip(address) => SanType::IpAddress(*address),
        })
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.subject_alt_names = names.iter().map(alt_name).collect::<Result<_, Error>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (from, until);
    params.signed_by(key, issuer)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
