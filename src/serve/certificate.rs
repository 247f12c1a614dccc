//! Follows the serving certificate where it comes from: files, or the Secret that the leader keeps.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use time::OffsetDateTime;

use crate::api::Api;
use crate::installed::{SECRET, Secret, SecretError};
use crate::metrics::Ca;
use crate::pki::authority::{Content, TLS_CERT, TLS_KEY};
use crate::pki::{self, Files, Pair, Pem};
use crate::server::admin::{Admin, Certificate};

/// How often the certificate's files are read. Their contents are compared, since a mounted Secret
/// changes by a symlink swap.
const FILES_INTERVAL: Duration = Duration::from_secs(10);
/// How often the Secret is read.
const SECRET_INTERVAL: Duration = Duration::from_secs(5);
/// How often the Secret is read until there is a certificate.
const WAITING_INTERVAL: Duration = Duration::from_secs(1);

/// Where the serving certificate comes from.
pub(super) enum Origin {
    /// Files, which somebody else keeps.
    Files(Files),
    /// The Secret, which the leader keeps.
    Secret {
        /// The API server.
        api: Api,
        /// The namespace of the Secret.
        namespace: String,
        /// The CA certificates that verify clients, if clients must show a certificate.
        client_ca: Option<PathBuf>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => files.cert.display().fmt(f),
            Self::Secret { namespace, .. } => write!(f, "Secret {namespace}/{SECRET}"),
        }
    }
}

/// Why there is no pair to serve.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A certificate or key can't be used.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// The Secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The Secret has no certificate.
    #[error("waiting for the leader to issue one into Secret {0}/{SECRET}")]
    NotIssued(String),
}

/// Serves the certificate of an origin.
pub(super) struct Follower {
    /// Where the certificate comes from.
    pub origin: Origin,
    served: Option<Pair>,
    /// What the server uses.
    pub tls: RustlsConfig,
    /// What was last logged as wrong.
    reported: String,
}

impl Follower {
    /// Begins with the certificate in files. With the Secret it begins without one, and every
    /// handshake fails until there is one.
    pub fn new(origin: Origin) -> Result<Self, pki::Error> {
        let (served, config) = match &origin {
            Origin::Files(files) => {
                let pair = files.load()?;
                let config = pair.config.clone();
                (Some(pair), config)
            }
            Origin::Secret { client_ca, .. } => {
                let clients = clients(client_ca.as_deref())?;
                (None, pki::without_certificate(clients.as_ref().map(NamedPem::pem).as_ref())?)
            }
        };
        let tls = RustlsConfig::from_config(config);
        Ok(Self { origin, served, tls, reported: String::new() })
    }

    /// What probes and metrics show of the certificate at the beginning.
    pub fn state(&self) -> Certificate {
        match &self.served {
            Some(pair) => Certificate::Served(pair.validity),
            None => missing(&format!("reading {}", self.origin)),
        }
    }

    /// Follows the origin for ever. Swaps the certificate without dropping a connection. If the new
    /// pair can't be used, logs why and keeps the current one.
    pub async fn follow(mut self, admin: Arc<Admin>) -> std::io::Result<()> {
        // Files were read right before.
        if matches!(self.origin, Origin::Files(_)) {
            tokio::time::sleep(FILES_INTERVAL).await;
        }
        loop {
            self.look(&admin).await;
            let interval = match (&self.origin, &self.served) {
                (Origin::Files(_), _) => FILES_INTERVAL,
                (Origin::Secret { .. }, Some(_)) => SECRET_INTERVAL,
                (Origin::Secret { .. }, None) => WAITING_INTERVAL,
            };
            tokio::time::sleep(interval).await;
        }
    }

    /// Looks at the origin once.
    async fn look(&mut self, admin: &Admin) {
        let next = match self.read(admin).await {
            Ok(pair) => next(self.served.as_ref(), pair, &self.origin),
            Err(error) => Err(error),
        };
        match next {
            Ok(None) => self.reported.clear(),
            Ok(Some(pair)) => {
                admin.certificate(Certificate::Served(pair.validity));
                self.tls.reload_from_config(pair.config.clone());
                self.served = Some(pair);
                self.reported.clear();
                tracing::info!(certificate = %self.origin, "certificate changed");
            }
            Err(error) => self.report(&error, admin),
        }
    }

    /// Reads the pair. With the Secret, also tells what there is to know of the CA.
    async fn read(&self, admin: &Admin) -> Result<Pair, Error> {
        let (api, namespace, client_ca) = match &self.origin {
            Origin::Files(files) => return Ok(files.load()?),
            Origin::Secret { api, namespace, client_ca } => (api, namespace, client_ca.as_deref()),
        };
        let secret = Secret::read(api, namespace).await?;
        let authority = secret.authority();
        if let Ok(authority) = &authority {
            admin.ca(authority.as_ref().map(|authority| Ca {
                expires: authority.current().validity.until,
                step_due: authority.step_due(OffsetDateTime::now_utc()),
            }));
        }
        let Some((cert, key)) = leaf(&secret.content, namespace) else {
            // A damaged CA is why there is no certificate.
            return Err(authority.err().map_or(Error::NotIssued(namespace.clone()), Error::Secret));
        };
        let clients = clients(client_ca)?;
        let clients = clients.as_ref().map(NamedPem::pem);
        Ok(Pair::new(&cert.pem(), &key.pem(), clients.as_ref())?)
    }

    /// Logs what is wrong, once, and tells probes if nothing is served yet.
    fn report(&mut self, error: &Error, admin: &Admin) {
        let why = error.to_string();
        if self.served.is_none() {
            admin.certificate(missing(&why));
        }
        if why != self.reported {
            match (&self.served, error) {
                (None, Error::NotIssued(_)) => tracing::info!("no serving certificate yet: {why}"),
                (None, _) => tracing::error!("no serving certificate yet: {why}"),
                (Some(_), _) => tracing::error!("the certificate is not changed: {why}"),
            }
        }
        self.reported = why;
    }
}

fn missing(why: &str) -> Certificate {
    Certificate::Missing(format!("no serving certificate yet: {why}"))
}

/// Returns the pair to serve from now on, or `None` if it is the served one. A certificate that is
/// not valid at the moment never replaces one that is, and is never the first one of the Secret.
fn next(served: Option<&Pair>, pair: Pair, origin: &Origin) -> Result<Option<Pair>, Error> {
    if served.is_some_and(|served| served.content == pair.content) {
        return Ok(None);
    }
    match pair.validity.fault() {
        Some(why) if served.is_none_or(|served| served.validity.fault().is_none()) => {
            let (what, why) = (origin.to_string(), why.to_owned());
            Err(pki::Error::Unusable { what, why }.into())
        }
        _ => Ok(Some(pair)),
    }
}

/// A text in PEM with its name.
struct NamedPem {
    name: String,
    bytes: Vec<u8>,
}

impl NamedPem {
    fn pem(&self) -> Pem<'_> {
        Pem { name: &self.name, bytes: &self.bytes }
    }
}

/// The certificate and the key in the Secret, if there are any.
fn leaf(content: &Content, namespace: &str) -> Option<(NamedPem, NamedPem)> {
    let part = |key: &str| {
        let bytes = content.get(key).filter(|bytes| !bytes.is_empty())?.clone();
        Some(NamedPem { name: format!("{key} of Secret {namespace}/{SECRET}"), bytes })
    };
    part(TLS_CERT).zip(part(TLS_KEY))
}

/// The CA certificates that verify clients.
fn clients(file: Option<&Path>) -> Result<Option<NamedPem>, pki::Error> {
    let Some(file) = file else { return Ok(None) };
    let bytes =
        std::fs::read(file).map_err(|source| pki::Error::Io { path: file.to_owned(), source })?;
    Ok(Some(NamedPem { name: file.display().to_string(), bytes }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;
    use crate::metrics::Metrics;
    use crate::pki::authority::Authority;
    use crate::publish::{self, Watches};
    use crate::server::admin;

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
        let origin = Origin::Files(files.clone());
        let load = || files.load().unwrap();
        let served = load();
        assert!(next(Some(&served), load(), &origin).unwrap().is_none(), "nothing changed");
        expired(&files);
        let why = next(Some(&served), load(), &origin).err().unwrap().to_string();
        assert!(why.contains("tls.crt: the serving certificate has expired"), "{why}");
        assert!(next(None, load(), &origin).is_err(), "nor is it the first one");
        let expired = load();
        fs::remove_file(&files.cert).unwrap();
        pki::for_development(folder.path()).unwrap();
        assert!(next(Some(&expired), load(), &origin).unwrap().is_some(), "a valid one does");
        assert!(next(None, load(), &origin).unwrap().is_some());
    }

    /// What the API server has of the Secret: its data, or the code of a refusal.
    type Stored = Arc<Mutex<Result<Content, u16>>>;

    fn api(stored: &Stored) -> Api {
        let stored = stored.clone();
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let (code, answer) = match &*stored.lock().unwrap() {
                Ok(content) => {
                    let encode = |bytes: &Vec<u8>| Value::from(STANDARD.encode(bytes));
                    let data = content.iter().map(|(key, bytes)| (key.clone(), encode(bytes)));
                    (200, json!({ "data": data.collect::<serde_json::Map<_, _>>() }))
                }
                Err(code) => (*code, json!({ "message": "no" })),
            };
            let body = kube::client::Body::from(answer.to_string().into_bytes());
            let answer = http::Response::builder().status(code).body(body).unwrap();
            async move { Ok::<_, std::io::Error>(answer) }
        });
        Api::new(kube::Client::new(service, "default"))
    }

    fn follower(stored: &Stored) -> (Follower, Arc<Admin>) {
        let namespace = "net".to_owned();
        let origin = Origin::Secret { api: api(stored), namespace, client_ca: None };
        let follower = Follower::new(origin).unwrap();
        let (_, snapshots) = publish::channel();
        let metrics = Arc::new(Metrics::new().unwrap());
        let admin = Admin::new(snapshots, Watches::default(), metrics, follower.state());
        (follower, Arc::new(admin))
    }

    async fn get(admin: &Arc<Admin>, path: &str) -> String {
        let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let answer = admin::router(admin.clone()).oneshot(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn issued(age: time::Duration) -> Content {
        let names = pki::names("lanekeeper", "net", &[], &[]);
        Authority::make(&names, OffsetDateTime::now_utc() - age).unwrap().content()
    }

    #[tokio::test]
    async fn the_secret_is_awaited_and_then_followed() {
        let stored: Stored = Arc::new(Mutex::new(Ok(Content::new())));
        let (mut follower, admin) = follower(&stored);
        let without = follower.tls.get_inner();
        follower.look(&admin).await;
        let waiting = "[-] no serving certificate yet: waiting for the leader to issue one into \
                       Secret net/lanekeeper-tls\n";
        let ready = get(&admin, "/readyz?verbose").await;
        assert!(ready.contains(waiting), "{ready}");
        let metrics = get(&admin, "/metrics").await;
        assert!(!metrics.contains("certificate_expiry") && !metrics.contains("ca_"), "{metrics}");

        *stored.lock().unwrap() = Err(403);
        follower.look(&admin).await;
        let ready = get(&admin, "/readyz").await;
        assert!(ready.contains("yet: can't read Secret net/lanekeeper-tls: forbidden"), "{ready}");

        *stored.lock().unwrap() = Ok(issued(time::Duration::days(100)));
        follower.look(&admin).await;
        let ready = get(&admin, "/readyz").await;
        assert!(ready.contains("the serving certificate has expired"), "{ready}");
        assert!(Arc::ptr_eq(&without, &follower.tls.get_inner()), "it is not served");

        let first = issued(time::Duration::ZERO);
        *stored.lock().unwrap() = Ok(first.clone());
        follower.look(&admin).await;
        let ready = get(&admin, "/readyz").await;
        assert!(!ready.contains("certificate"), "{ready}");
        let served = follower.tls.get_inner();
        assert!(!Arc::ptr_eq(&without, &served));
        let metrics = get(&admin, "/metrics").await;
        for metric in [
            "lanekeeper_certificate_expiry_timestamp_seconds 1",
            "lanekeeper_ca_expiry_timestamp_seconds 2",
            "lanekeeper_ca_step_due{step=\"next\"} 0",
            "lanekeeper_ca_step_due{step=\"promote\"} 0",
            "lanekeeper_ca_step_due{step=\"retire\"} 0",
        ] {
            assert!(metrics.contains(metric), "{metric}: {metrics}");
        }

        let mut mixed = issued(time::Duration::ZERO);
        mixed.insert(TLS_KEY.to_owned(), first[TLS_KEY].clone());
        let expired = issued(time::Duration::days(100));
        for unusable in [Ok(Content::new()), Err(503), Ok(mixed), Ok(expired)] {
            *stored.lock().unwrap() = unusable;
            follower.look(&admin).await;
            assert!(Arc::ptr_eq(&served, &follower.tls.get_inner()), "the good one stays");
        }
        let ready = get(&admin, "/readyz").await;
        assert!(!ready.contains("certificate"), "{ready}");

        let mut authority = Authority::read(&first).unwrap().unwrap();
        authority.add_next(OffsetDateTime::now_utc()).unwrap();
        authority.promote(OffsetDateTime::now_utc()).unwrap();
        *stored.lock().unwrap() = Ok(authority.content());
        follower.look(&admin).await;
        assert!(!Arc::ptr_eq(&served, &follower.tls.get_inner()), "a new one is served");
        let metrics = get(&admin, "/metrics").await;
        assert!(metrics.contains("lanekeeper_ca_step_due{step=\"retire\"} 1"), "{metrics}");
    }

    #[tokio::test]
    async fn a_damaged_ca_is_why_there_is_no_certificate() {
        let mut damaged = issued(time::Duration::ZERO);
        damaged.insert("ca.key".to_owned(), b"odd".to_vec());
        let leaf = [TLS_CERT, TLS_KEY].map(|key| damaged.remove(key).unwrap());
        let stored: Stored = Arc::new(Mutex::new(Ok(damaged.clone())));
        let (mut follower, admin) = follower(&stored);
        follower.look(&admin).await;
        let ready = get(&admin, "/readyz").await;
        assert!(ready.contains("is damaged: ca.key: not a PEM private key"), "{ready}");
        damaged.extend([TLS_CERT, TLS_KEY].map(str::to_owned).into_iter().zip(leaf));
        *stored.lock().unwrap() = Ok(damaged);
        follower.look(&admin).await;
        let ready = get(&admin, "/readyz").await;
        assert!(!ready.contains("certificate"), "the leaf is good: {ready}");
    }
}
