//! Waits until no leader holds the Lease: a leader would put the labels back.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::api::{Api, Error as ApiError};
use crate::commands::NAME;
use crate::commands::lease::{Observer, Term};
use crate::installed::{deployment_path, lease_path};

use super::error::Error;

/// The path of all Leases.
const LEASES: &str = "/apis/coordination.k8s.io/v1/leases";
/// How often the Lease is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who holds the Lease, if anybody does.
pub(super) async fn leader(api: &Api, namespace: &str) -> Result<Option<String>, Error> {
    Ok(term(api, namespace).await?.map(|term| term.holder))
}

/// Checks that the Lease is in this namespace, or nowhere: in another one, its leader would not be seen.
pub(super) async fn is_here(api: &Api, namespace: &str) -> Result<(), Error> {
    if read(api, namespace).await?.is_some() {
        return Ok(());
    }
    let named = format!("fieldSelector=metadata.name%3D{NAME}");
    let leases = match api.list_values(LEASES, &named).await {
        Err(ApiError::NotFound) => return Ok(()),
        leases => {
            leases.map_err(|why| Error::Request { what: format!("list Leases {NAME}"), why })?
        }
    };
    let mut namespaces = leases.iter().filter_map(|it| it.pointer("/metadata/namespace")?.as_str());
    match namespaces.next() {
        None => Ok(()),
        Some(found) => {
            Err(Error::Elsewhere { namespace: namespace.to_owned(), found: found.to_owned() })
        }
    }
}

async fn read(api: &Api, namespace: &str) -> Result<Option<Value>, Error> {
    let lease = api.get_value(&lease_path(namespace)).await;
    lease.map_err(|why| Error::Request { what: format!("get Lease {namespace}/{NAME}"), why })
}

async fn term(api: &Api, namespace: &str) -> Result<Option<Term>, Error> {
    Ok(Term::of(read(api, namespace).await?.as_ref()))
}

/// Waits until the Lease is free, for at most `timeout`. `notice` is told how to stop the leader.
pub(super) async fn wait(
    api: &Api,
    namespace: &str,
    timeout: Duration,
    notice: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let started = Instant::now();
    let mut observer = Observer::default();
    let mut remedy = None;
    loop {
        let read = term(api, namespace).await;
        // The API server may be away for a moment while it is waited for.
        let term = match read {
            Err(_) if remedy.is_some() && started.elapsed() < timeout => {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            read => read?,
        };
        let Some(held) = observer.held(term, Instant::now()) else { return Ok(()) };
        let holder = held.holder.clone();
        let remedy = if let Some(remedy) = &remedy {
            remedy
        } else {
            let how = how_to_stop(api, namespace).await;
            let lease = format!("the Lease {namespace}/{NAME}");
            notice(&format!("waiting until {holder} no longer holds {lease}. {how}"));
            remedy.insert(how)
        };
        let waited = started.elapsed();
        if waited >= timeout {
            return Err(Error::Leader {
                holder,
                namespace: namespace.to_owned(),
                waited,
                remedy: remedy.clone(),
            });
        }
        tokio::time::sleep(LOOK_EVERY.min(timeout.saturating_sub(waited))).await;
    }
}

/// What an administrator does to stop the leader.
async fn how_to_stop(api: &Api, namespace: &str) -> String {
    match api.get_value(&deployment_path(namespace)).await {
        Ok(None) => "Stop the server, which runs outside the cluster".to_owned(),
        _ => format!("Stop it: kubectl -n {namespace} scale deployment {NAME} --replicas 0"),
    }
}
