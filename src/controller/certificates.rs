//! Keeps the certificates of an installation right: the CA and the serving certificate in the
//! Secret, and the CAs that the webhook configurations trust.

use std::net::IpAddr;

use serde_json::Value;
use time::OffsetDateTime;

use crate::api::Api;
use crate::installed::{Configuration, NAME, Secret, SecretError, WebhookError, Webhooks};
use crate::pki::authority::{Authority, Refused};
use crate::pki::{self, AltName, AltNames};

/// Why the certificates are not right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A webhook configuration can't be read or changed.
    #[error(transparent)]
    Webhooks(#[from] WebhookError),
    /// A certificate can't be issued.
    #[error("can't issue a serving certificate: {0}")]
    Refused(#[from] Refused),
    /// A CA can't be made.
    #[error(transparent)]
    Make(#[from] pki::Error),
    /// This replica no longer leads.
    #[error("this replica no longer leads")]
    NotLeading,
}

impl Error {
    /// Returns whether something changed meanwhile: the next call begins with what is there then.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Secret(error) => error.is_conflict(),
            Self::Webhooks(error) => error.is_conflict(),
            Self::Refused(_) | Self::Make(_) | Self::NotLeading => false,
        }
    }
}

/// Issues the certificates of an installation.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The namespace of the Secret and the Service.
    pub namespace: String,
    /// Further names in the serving certificate.
    pub extra: Vec<AltName>,
}

impl Issuer {
    /// Makes the CA and the serving certificate if they are due, and then `caBundle` of our webhook
    /// configurations equal to the bundle. All is right if there is no error. Nothing is written
    /// unless `may_write` returns true right before.
    ///
    /// # Errors
    /// If something can't be read, made or written. The next call tries again.
    pub async fn keep(
        &self,
        api: &Api,
        may_write: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Error> {
        let secret = Secret::read(api, &self.namespace).await?;
        let addresses = self.service_addresses(api).await;
        let now = OffsetDateTime::now_utc();
        let proposal = self.propose(secret.authority()?, addresses.as_deref(), now)?;
        let Proposal { authority, changes, fault } = proposal;
        if !may_write() {
            return Err(Error::NotLeading);
        }
        if secret.write(api, &authority).await? {
            tracing::info!(
                "wrote Secret {}/{}: {changes}",
                self.namespace,
                crate::installed::SECRET
            );
        }
        let bundle = authority.bundle();
        let mut failed = None;
        for webhooks in Webhooks::ALL {
            if let Err(error) = trust(api, webhooks, &bundle, may_write).await {
                // The other one is tried, too.
                failed = failed.or(Some(error));
            }
        }
        match (failed, fault) {
            (Some(error), _) => Err(error),
            (None, Some(refused)) => Err(refused.into()),
            (None, None) => Ok(()),
        }
    }

    /// The cluster IPs of our Service: none if there is no Service, and `None` if it can't be read.
    async fn service_addresses(&self, api: &Api) -> Option<Vec<IpAddr>> {
        let path = format!("/api/v1/namespaces/{}/services/{NAME}", self.namespace);
        match api.get_value(&path).await {
            Ok(service) => Some(service.as_ref().map(cluster_ips).unwrap_or_default()),
            Err(error) => {
                tracing::debug!("Service {}/{NAME} can't be read: {error}", self.namespace);
                None
            }
        }
    }

    /// What is due of an authority, at `now`.
    fn propose(
        &self,
        authority: Option<Authority>,
        addresses: Option<&[IpAddr]>,
        now: OffsetDateTime,
    ) -> Result<Proposal, pki::Error> {
        let Some(mut authority) = authority else {
            let authority = Authority::make(&self.names(addresses.unwrap_or_default()), now)?;
            return Ok(Proposal { authority, changes: "a new CA".to_owned(), fault: None });
        };
        let names = self.names(&addresses.map_or_else(
            // The leaf keeps the addresses that it has.
            || authority.leaf().map(|leaf| addresses_of(&leaf.names)).unwrap_or_default(),
            <[IpAddr]>::to_vec,
        ));
        let due = authority.leaf_due(&names, now);
        let fault = due.as_ref().and_then(|_| authority.issue(&names, now).err());
        let changes = due.map_or_else(|| "its bundle differed".to_owned(), |due| due.to_string());
        Ok(Proposal { authority, changes, fault })
    }

    fn names(&self, addresses: &[IpAddr]) -> AltNames {
        pki::names(NAME, &self.namespace, addresses, &self.extra)
    }
}

/// The authority as it should be.
struct Proposal {
    authority: Authority,
    /// What changed, for the log.
    changes: String,
    /// Why the serving certificate can't be issued.
    fault: Option<Refused>,
}

async fn trust(
    api: &Api,
    webhooks: Webhooks,
    bundle: &[u8],
    may_write: &(dyn Fn() -> bool + Sync),
) -> Result<(), Error> {
    let Some(configuration) = Configuration::read(api, webhooks).await? else { return Ok(()) };
    if !may_write() {
        return Err(Error::NotLeading);
    }
    if configuration.trust(api, bundle).await? {
        tracing::info!("{} {NAME} trusts the CA now", webhooks.kind());
    }
    Ok(())
}

/// The cluster IPs of a Service. A headless one has none.
fn cluster_ips(service: &Value) -> Vec<IpAddr> {
    let all = service.pointer("/spec/clusterIPs").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(|address| address.as_str()?.parse().ok()).collect()
}

fn addresses_of(names: &AltNames) -> Vec<IpAddr> {
    let address = |name: &AltName| match name {
        AltName::Ip(address) => Some(*address),
        AltName::Dns(_) => None,
    };
    names.iter().filter_map(address).collect()
}
