//! Keys and certificates: creates them for development, loads them from files, and checks them
//! before they are used.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long certificates for development are valid.
const DEV_DAYS: i64 = 365;
/// The names in a certificate for development.
const DEV_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why keys and certificates can't be used or made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file's content can't be used.
    #[error("{path}: {why}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A certificate could not be made.
    #[error("can't make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The files of a certificate, its key and its clients' CA.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate chain, in PEM.
    pub cert: PathBuf,
    /// The key, in PEM.
    pub key: PathBuf,
    /// The CA certificates that verify clients, in PEM, if clients must show a certificate.
    pub client_ca: Option<PathBuf>,
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
    /// Why a certificate is not valid now, or `None` if it is.
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

/// A certificate and its key, which match.
pub struct Pair {
    /// The TLS configuration: HTTP/1.1 over TLS 1.2 or later.
    pub config: Arc<ServerConfig>,
    /// When the certificate is valid.
    pub validity: Validity,
    /// The contents of the files, to find out whether they changed.
    pub content: Vec<Vec<u8>>,
}

impl Files {
    /// A certificate and its key, without a CA for clients.
    #[must_use]
    pub fn of(cert: PathBuf, key: PathBuf) -> Self {
        Self { cert, key, client_ca: None }
    }

    /// Loads and checks the pair.
    ///
    /// # Errors
    /// If a file is missing or unusable, or the key does not match. The error names the file.
    pub fn load(&self) -> Result<Pair, Error> {
        let Self { cert, key, client_ca } = self;
        let (cert_pem, key_pem) = (read(cert)?, read(key)?);
        let unusable = |path: &Path, why: String| Error::Unusable { path: path.to_owned(), why };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&cert_pem)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(cert, format!("not a PEM certificate: {error}")))?;
        let leaf =
            chain.first().ok_or_else(|| unusable(cert, "it contains no certificate".into()))?;
        let validity = X509Certificate::from_der(leaf)
            .map(|(_, leaf)| validity_of(&leaf))
            .map_err(|error| unusable(cert, format!("not an X.509 certificate: {error}")))?;
        let der = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|error| unusable(key, format!("not a PEM private key: {error}")))?;
        let provider = aws_lc_rs::default_provider();
        let signing = provider
            .key_provider
            .load_private_key(der)
            .map_err(|error| unusable(key, format!("not a usable key: {error}")))?;
        let certified = CertifiedKey::new(chain, signing);
        certified
            .keys_match()
            .map_err(|_| unusable(key, format!("not the key of {}", cert.display())))?;
        let resolver = rustls::sign::SingleCertAndKey::from(certified);
        let provider = Arc::new(provider);
        let mut content = vec![cert_pem, key_pem];
        let verifier = match client_ca {
            Some(client_ca) => {
                let pem = read(client_ca)?;
                let verifier = verifier_of_clients(client_ca, &pem, provider.clone())?;
                content.push(pem);
                verifier
            }
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(cert, error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Pair { config: Arc::new(config), validity, content })
    }
}

/// Verifies the certificates that clients show against these CAs. The handshake also accepts a
/// client without a certificate, since the server then answers its requests with 401.
fn verifier_of_clients(
    path: &Path,
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let unusable = |why: String| Error::Unusable { path: path.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| unusable(format!("not a PEM certificate: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(format!("not a CA's certificate: {error}")))?;
    }
    if roots.is_empty() {
        return Err(unusable("it contains no certificate".to_owned()));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable(error.to_string()))
}

/// The CA certificates of a file, in PEM.
///
/// # Errors
/// If the file can't be read, holds anything but certificates, or holds none. The error names the
/// file.
pub fn ca_certificates(path: &Path) -> Result<Vec<u8>, Error> {
    let unusable = |why: String| Error::Unusable { path: path.to_owned(), why };
    let pem = read(path)?;
    let mut number = 0;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&pem) {
        number += 1;
        let (kind, der) = section.map_err(|error| unusable(format!("not PEM: {error}")))?;
        if kind != SectionKind::Certificate {
            return Err(unusable(format!("section {number} is not a certificate")));
        }
        X509Certificate::from_der(&der)
            .map_err(|error| unusable(format!("section {number} is not X.509: {error}")))?;
    }
    if number == 0 {
        return Err(unusable("it contains no certificate".to_owned()));
    }
    Ok(pem)
}

/// The certificate for development in a folder, with its CA beside it. Uses those in the folder
/// while they are valid, and otherwise makes new ones. The CA's key is not kept.
///
/// # Errors
/// If the folder can't be written.
pub fn for_development(folder: &Path) -> Result<Files, Error> {
    let files = Files::of(folder.join("tls.crt"), folder.join("tls.key"));
    let ca = folder.join("ca.crt");
    if is_usable(&files, &ca) {
        return Ok(files);
    }
    fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
    let from = OffsetDateTime::now_utc() - Duration::hours(1);
    let until = from + Duration::days(DEV_DAYS);
    let ca_key = KeyPair::generate()?;
    let mut ca_params = CertificateParams::default();
    ca_params.distinguished_name = named("Lanekeeper development CA");
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca_params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (ca_params.not_before, ca_params.not_after) = (from, until);
    let ca_cert = ca_params.self_signed(&ca_key)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(DEV_NAMES.map(str::to_owned))?;
    params.distinguished_name = named("Lanekeeper development");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (from, until);
    let cert = params.signed_by(&key, &Issuer::from_params(&ca_params, &ca_key))?;
    write(&files.key, &key.serialize_pem(), 0o600)?;
    write(&files.cert, &cert.pem(), 0o644)?;
    write(&ca, &ca_cert.pem(), 0o644)?;
    Ok(files)
}

/// Returns whether the pair matches, is valid for another day, and was issued by the CA beside it.
fn is_usable(files: &Files, ca: &Path) -> bool {
    let (Ok(pair), Ok(ca)) = (files.load(), read(ca)) else { return false };
    let tomorrow = (OffsetDateTime::now_utc() + Duration::days(1)).unix_timestamp();
    let first = |pem: &[u8]| CertificateDer::from_pem_slice(pem).ok();
    let leaf = pair.content.first().and_then(|pem| first(pem));
    let (Some(leaf), Some(ca)) = (leaf, first(&ca)) else { return false };
    let (Ok((_, leaf)), Ok((_, ca))) =
        (X509Certificate::from_der(&leaf), X509Certificate::from_der(&ca))
    else {
        return false;
    };
    let key_id = |cert: &X509Certificate<'_>| {
        cert.iter_extensions().find_map(|it| match it.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => {
                Some(id.0.to_vec())
            }
            _ => None,
        })
    };
    let issuer_id = leaf.iter_extensions().find_map(|it| match it.parsed_extension() {
        x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(id) => {
            Some(id.key_identifier.as_ref()?.0.to_vec())
        }
        _ => None,
    });
    pair.validity.until > tomorrow
        && validity_of(&ca).until > tomorrow
        && issuer_id.is_some()
        && issuer_id == key_id(&ca)
}

fn validity_of(cert: &X509Certificate<'_>) -> Validity {
    let validity = cert.validity();
    Validity { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Writes a new file and renames it over the old one, so that nobody reads a half-written file.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|source| Error::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn development_certificates_are_made_once_and_reused() {
        let folder = tempfile::tempdir().unwrap();
        let files = for_development(folder.path()).unwrap();
        let first = files.load().unwrap();
        let mode = fs::metadata(&files.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else may read the key");
        let again = for_development(folder.path()).unwrap().load().unwrap();
        assert_eq!(first.content, again.content);
    }

    #[test]
    fn a_pair_that_does_not_match_is_refused_and_for_development_replaced() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = for_development(one.path()).unwrap();
        let stranger = for_development(other.path()).unwrap();
        fs::copy(&stranger.key, &files.key).unwrap();
        let refused = files.load().err().unwrap().to_string();
        assert!(refused.contains("not the key of"), "{refused}");
        for_development(one.path()).unwrap().load().unwrap();
    }

    #[test]
    fn certificates_of_another_ca_are_replaced() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = for_development(one.path()).unwrap();
        let before = files.load().unwrap().content;
        for_development(other.path()).unwrap();
        fs::copy(other.path().join("ca.crt"), one.path().join("ca.crt")).unwrap();
        assert_ne!(for_development(one.path()).unwrap().load().unwrap().content, before);
    }

    #[test]
    fn the_cas_of_clients_are_loaded_with_the_pair_and_a_change_of_them_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let files = for_development(folder.path()).unwrap();
        let without = files.load().unwrap();
        let clients = folder.path().join("clients.crt");
        fs::copy(folder.path().join("ca.crt"), &clients).unwrap();
        let files = Files { client_ca: Some(clients.clone()), ..files };
        assert_ne!(files.load().unwrap().content, without.content);
        fs::write(&clients, "no certificate\n").unwrap();
        let refused = files.load().err().unwrap().to_string();
        assert!(refused.contains("clients.crt") && refused.contains("no certificate"), "{refused}");
        fs::remove_file(&clients).unwrap();
        assert!(files.load().is_err());
    }
}
