//! The Secret `lanekeeper-tls`: the certificate authority, and the serving certificate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::api::{self, Api};
use crate::pki;
use crate::pki::authority::{Authority, Content, KEYS};

/// The name of the Secret.
pub const SECRET: &str = "lanekeeper-tls";

/// Why the Secret can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It does not exist. Our account may not create it.
    #[error(
        "Secret {namespace}/{SECRET} does not exist: name the namespace of Lanekeeper with \
         --namespace. If that is right, apply the output of `lanekeeper manifests` again, which has an \
         empty one; with `--certificate cert-manager` there is none, and cert-manager has the CA"
    )]
    Missing {
        /// Its namespace.
        namespace: String,
    },
    /// It can't be read or written.
    #[error("can't {verb} Secret {namespace}/{SECRET}: {why}")]
    Request {
        /// What was asked for.
        verb: &'static str,
        /// Its namespace.
        namespace: String,
        /// Why it failed.
        why: api::Error,
    },
    /// A CA in it is missing or can't be used.
    #[error(
        "Secret {namespace}/{SECRET} is damaged: {why}. No new CA is made, since kube-scheduler and \
         the API server trust this one; {}",
        repair(namespace)
    )]
    Damaged {
        /// Its namespace.
        namespace: String,
        /// What is wrong.
        why: pki::Error,
    },
}

/// What an administrator does about a damaged Secret.
#[must_use]
pub fn repair(namespace: &str) -> String {
    format!(
        "restore the Secret from a backup. If there is none, empty it with `kubectl -n {namespace} \
         patch secret {SECRET} --type=merge -p '{{\"data\":null}}'`: the leader then makes a new CA; \
         give the output of `lanekeeper certs ca show` to every kube-scheduler, and restart it"
    )
}

impl SecretError {
    /// Returns whether another write came first, so that the whole step can be tried again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Request { why: api::Error::Conflict(_), .. })
    }
}

/// The Secret as it was read.
pub struct Secret {
    namespace: String,
    object: Value,
    /// Its data.
    pub content: Content,
}

fn path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{SECRET}")
}

impl Secret {
    /// Reads the Secret.
    ///
    /// # Errors
    /// If it does not exist, or can't be read.
    pub async fn read(api: &Api, namespace: &str) -> Result<Self, SecretError> {
        let namespace = namespace.to_owned();
        match api.get_value(&path(&namespace)).await {
            Ok(Some(object)) => {
                let content = data_of(&object);
                Ok(Self { namespace, object, content })
            }
            Ok(None) => Err(SecretError::Missing { namespace }),
            Err(why) => Err(SecretError::Request { verb: "read", namespace, why }),
        }
    }

    /// The certificate authority. There is none if the Secret is empty.
    ///
    /// # Errors
    /// If a CA is missing or can't be used.
    pub fn authority(&self) -> Result<Option<Authority>, SecretError> {
        let namespace = || self.namespace.clone();
        Authority::read(&self.content)
            .map_err(|why| SecretError::Damaged { namespace: namespace(), why })
    }

    /// Writes a certificate authority, if the Secret differs. Returns whether it did. Keys of others
    /// are left alone.
    ///
    /// # Errors
    /// If it can't be written. [`SecretError::is_conflict`] tells that another write came first.
    pub async fn write(self, api: &Api, authority: &Authority) -> Result<bool, SecretError> {
        let Self { namespace, mut object, content } = self;
        let wanted = authority.content();
        let stands = |key: &str| content.get(key).filter(|bytes| !bytes.is_empty());
        if KEYS.iter().all(|key| stands(key) == wanted.get(*key)) {
            return Ok(false);
        }
        let mut data = match object.get_mut("data").map(Value::take) {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        for key in KEYS {
            match wanted.get(key) {
                Some(bytes) => data.insert(key.to_owned(), STANDARD.encode(bytes).into()),
                None => data.remove(key),
            };
        }
        if let Some(object) = object.as_object_mut() {
            object.insert("data".to_owned(), data.into());
        }
        // The resource version in it makes this fail if another write came first.
        let written = api.replace(&path(&namespace), &object).await;
        written.map_err(|why| SecretError::Request { verb: "write", namespace, why })?;
        Ok(true)
    }
}

/// The data of a Secret, decoded.
fn data_of(object: &Value) -> Content {
    let data = object.get("data").and_then(Value::as_object);
    // The API server refuses data that is not base64.
    let decoded = |value: &Value| STANDARD.decode(value.as_str()?).ok();
    let entries = data.into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), decoded(value)?))).collect()
}
