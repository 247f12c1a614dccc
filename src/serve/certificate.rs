//! Reloads the serving certificate when its files change.

use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;

use crate::pki::{Error, Files, Pair};
use crate::server::admin::Admin;

/// How often the certificate's files are read. Their contents are compared, since a mounted Secret
/// changes by a symlink swap.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Swaps the certificate when its files change, without dropping a connection. If the new pair
/// can't be used, logs why and keeps the current one.
pub(super) async fn follow(
    files: Files,
    mut served: Pair,
    tls: RustlsConfig,
    admin: Arc<Admin>,
) -> std::io::Result<()> {
    let mut reported = String::new();
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        match next(&files, &served) {
            Ok(None) => reported.clear(),
            Ok(Some(pair)) => {
                admin.certificate(pair.validity);
                tls.reload_from_config(pair.config.clone());
                served = pair;
                tracing::info!(certificate = %files.cert.display(), "certificate changed");
            }
            Err(error) => {
                let why = error.to_string();
                if why != reported {
                    tracing::error!("the certificate is not changed: {why}");
                }
                reported = why;
            }
        }
    }
}

/// Returns the pair to serve from now on, or `None` if the files have not changed. A certificate
/// that is not valid at the moment never replaces one that is.
fn next(files: &Files, served: &Pair) -> Result<Option<Pair>, Error> {
    let pair = files.load()?;
    if pair.content == served.content {
        return Ok(None);
    }
    match pair.validity.fault() {
        Some(fault) if served.validity.fault().is_none() => {
            Err(Error::Unusable { what: files.cert.display().to_string(), why: fault.to_owned() })
        }
        _ => Ok(Some(pair)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::pki;

    /// A pair that was valid in 2020.
    fn expired(files: &Files) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
    }

    #[test]
    fn an_invalid_certificate_never_replaces_a_valid_one() {
        let folder = tempfile::tempdir().unwrap();
        let files = pki::for_development(folder.path()).unwrap();
        let served = files.load().unwrap();
        assert!(next(&files, &served).unwrap().is_none(), "nothing changed");
        expired(&files);
        let why = next(&files, &served).err().unwrap().to_string();
        assert!(why.contains("tls.crt"), "{why}");
        let expired = files.load().unwrap();
        fs::remove_file(&files.cert).unwrap();
        pki::for_development(folder.path()).unwrap();
        assert!(next(&files, &expired).unwrap().is_some(), "a valid one replaces any");
    }
}
