//! A certificate and its key, checked, and ready to be served.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};

use super::certificate::Certificate;
use super::pem::Pem;
use super::{Error, Validity};

/// A certificate and its key, which match.
pub struct Pair {
    /// The TLS configuration: HTTP/1.1 over TLS 1.2 or later.
    pub config: Arc<ServerConfig>,
    /// When the certificate is valid.
    pub validity: Validity,
    /// What the pair was made of, to find out whether that changed.
    pub content: Vec<Vec<u8>>,
}

impl Pair {
    /// Checks a certificate with its chain, and its key. Clients may show a certificate of a CA in
    /// `clients`.
    ///
    /// # Errors
    /// If one of them can't be used, or the key is not the certificate's.
    pub fn new(cert: &Pem<'_>, key: &Pem<'_>, clients: Option<&Pem<'_>>) -> Result<Self, Error> {
        let (leaf, certified) = certified(cert, key)?;
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let mut content = vec![cert.bytes.to_vec(), key.bytes.to_vec()];
        content.extend(clients.map(|clients| clients.bytes.to_vec()));
        let config = Arc::new(server_config(resolver, clients)?);
        Ok(Self { config, validity: leaf.validity, content })
    }
}

/// A TLS configuration without a certificate: every handshake fails.
///
/// # Errors
/// If the CA certificates that verify clients can't be used.
pub fn without_certificate(clients: Option<&Pem<'_>>) -> Result<Arc<ServerConfig>, Error> {
    Ok(Arc::new(server_config(Arc::new(NoCertificate), clients)?))
}

/// Has no certificate for any client.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// The certificate, and what rustls needs to serve it.
pub(super) fn certified(
    cert: &Pem<'_>,
    key: &Pem<'_>,
) -> Result<(Certificate, CertifiedKey), Error> {
    let leaf = Certificate::first(cert)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert.bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::unusable(cert, format!("not a PEM certificate: {error}")))?;
    let der = PrivateKeyDer::from_pem_slice(key.bytes)
        .map_err(|error| Error::unusable(key, format!("not a PEM private key: {error}")))?;
    let signing = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(der)
        .map_err(|error| Error::unusable(key, format!("not a usable key: {error}")))?;
    let certified = CertifiedKey::new(chain, signing);
    certified
        .keys_match()
        .map_err(|_| Error::unusable(key, format!("not the key of {}", cert.name)))?;
    Ok((leaf, certified))
}

fn server_config(
    resolver: Arc<dyn ResolvesServerCert>,
    clients: Option<&Pem<'_>>,
) -> Result<ServerConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match clients {
        Some(clients) => verifier_of_clients(clients, provider.clone())?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Unusable { what: "TLS".to_owned(), why: error.to_string() })?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Verifies the certificates that clients show against these CAs. The handshake also accepts a
/// client without a certificate, since the server then answers its requests with 401.
fn verifier_of_clients(
    cas: &Pem<'_>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(cas.bytes) {
        let certificate = certificate
            .map_err(|error| Error::unusable(cas, format!("not a PEM certificate: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| Error::unusable(cas, format!("not a CA's certificate: {error}")))?;
    }
    if roots.is_empty() {
        return Err(Error::unusable(cas, "it contains no certificate"));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| Error::unusable(cas, error.to_string()))
}
