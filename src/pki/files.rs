//! Certificates in files, and those for development.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use time::{Duration, OffsetDateTime};

use super::Error;
use super::certificate::Certificate;
use super::issue;
use super::names::{AltName, AltNames};
use super::pair::Pair;
use super::pem::Pem;

/// How long certificates for development are valid.
const DEV_DAYS: i64 = 365;
/// The names in a certificate for development.
fn dev_names() -> AltNames {
    let addresses: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let name = AltName::Dns("localhost".to_owned());
    addresses.into_iter().map(AltName::Ip).chain([name]).collect()
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
        let clients_pem = client_ca.as_deref().map(read).transpose()?;
        let names = [Some(cert), Some(key), client_ca.as_ref()]
            .map(|path| path.map(|path| path.display().to_string()).unwrap_or_default());
        let [cert_name, key_name, clients_name] = &names;
        let clients = clients_pem.as_ref().map(|bytes| Pem { name: clients_name, bytes });
        Pair::new(
            &Pem { name: cert_name, bytes: &cert_pem },
            &Pem { name: key_name, bytes: &key_pem },
            clients.as_ref(),
        )
    }
}

/// The CA certificates of a file, in PEM.
///
/// # Errors
/// If the file can't be read, holds anything but certificates, or holds none. The error names the
/// file.
pub fn ca_certificates(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = read(path)?;
    let name = path.display().to_string();
    let pem = Pem { name: &name, bytes: &bytes };
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&bytes) {
        let (kind, _) =
            section.map_err(|error| Error::unusable(&pem, format!("not PEM: {error}")))?;
        if kind != SectionKind::Certificate {
            return Err(Error::unusable(&pem, "it holds something other than certificates"));
        }
    }
    if Certificate::all(&pem)?.is_empty() {
        return Err(Error::unusable(&pem, "it contains no certificate"));
    }
    Ok(bytes)
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
    let (ca_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let (ca_cert, issuer) = issue::ca("Lanekeeper development CA", ca_key, from, until)?;
    let cert = issue::leaf("Lanekeeper development", &dev_names(), &key, &issuer, from, until)?;
    write(&files.key, &key.serialize_pem(), 0o600)?;
    write(&files.cert, &cert.pem(), 0o644)?;
    write(&ca, &ca_cert.pem(), 0o644)?;
    Ok(files)
}

/// Returns whether the pair matches, is valid for another day, and was issued by the CA beside it.
fn is_usable(files: &Files, ca: &Path) -> bool {
    let (Ok(pair), Ok(cert), Ok(ca)) = (files.load(), read(&files.cert), read(ca)) else {
        return false;
    };
    let now = OffsetDateTime::now_utc();
    let tomorrow = (now + Duration::days(1)).unix_timestamp();
    let leaf = Certificate::first(&Pem { name: "tls.crt", bytes: &cert });
    let ca = Certificate::first(&Pem { name: "ca.crt", bytes: &ca });
    let (Ok(leaf), Ok(ca)) = (leaf, ca) else { return false };
    let lasts = pair.validity.until > tomorrow && ca.validity.until > tomorrow;
    lasts && leaf.is_issued_by(&ca, now.unix_timestamp())
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
