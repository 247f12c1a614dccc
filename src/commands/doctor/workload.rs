//! Whether all replicas are ready, and one of them leads.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::api::{Api, Error};
use crate::commands::NAME;
use crate::commands::lease::{Observer, Term};
use crate::installed::{deployment_path, lease_path};

use super::check::Check;

pub(super) const REPLICAS: &str = "replicas";
pub(super) const LEADER: &str = "leader";
/// How often the Lease is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads the Deployment, if there is one.
pub(super) async fn deployment(api: &Api, namespace: &str) -> Result<Option<Value>, Error> {
    api.get_value(&deployment_path(namespace)).await
}

/// Checks that as many replicas are ready as are wanted.
pub(super) fn replicas(deployment: &Result<Option<Value>, Error>, namespace: &str) -> Check {
    let deployment = match deployment {
        Ok(Some(deployment)) => deployment,
        Ok(None) => {
            let says = format!(
                "there is no Deployment {namespace}/{NAME}: the server runs outside the cluster, or \
                 in another --namespace"
            );
            return Check::skipped(REPLICAS, says);
        }
        Err(why) => return Check::unread(REPLICAS, "get the Deployment", why),
    };
    let number = |path: &str| deployment.pointer(path).and_then(Value::as_u64);
    // Kubernetes leaves out what is zero, and takes one replica if none is given.
    let wanted = number("/spec/replicas").unwrap_or(1);
    let ready = number("/status/readyReplicas").unwrap_or_default();
    let says = format!("{ready} of {wanted} replicas are ready");
    if wanted == 0 {
        let remedy = format!("kubectl -n {namespace} scale deployment {NAME} --replicas 2");
        return Check::failed(REPLICAS, "the Deployment is scaled to 0 replicas", remedy);
    }
    if ready < wanted {
        let remedy = format!(
            "see why with `kubectl -n {namespace} get pods` and `kubectl -n {namespace} logs \
             deployment/{NAME}`"
        );
        return Check::failed(REPLICAS, says, remedy);
    }
    Check::ok(REPLICAS, says)
}

/// Checks that a replica holds the Lease and renews it. The clocks of the leader and of this machine
/// may differ, so a Lease that looks old is watched for as long as it lasts.
pub(super) async fn leader(api: &Api, namespace: &str) -> Check {
    let path = lease_path(namespace);
    let mut observer = Observer::default();
    let mut first = None;
    loop {
        let lease = match api.get_value(&path).await {
            Ok(lease) => lease,
            Err(why) => return Check::unread(LEADER, "get the Lease", &why),
        };
        if lease.is_none() {
            let says = format!("there is no Lease {namespace}/{NAME}");
            return Check::failed(
                LEADER,
                says,
                "name the namespace of Lanekeeper with --namespace, or apply what `lanekeeper manifests` \
                 prints",
            );
        }
        let term = Term::of(lease.as_ref());
        let Some(held) = observer.held(term, Instant::now()) else {
            let remedy = format!(
                "see why no replica becomes the leader: kubectl -n {namespace} logs \
                 deployment/{NAME}"
            );
            let says = match first {
                Some(Term { holder, .. }) => {
                    format!("{holder} holds the Lease and does not renew it")
                }
                None => "no replica holds the Lease".to_owned(),
            };
            return Check::failed(LEADER, format!("there is no leader: {says}"), remedy);
        };
        let is_renewed = first.as_ref().is_some_and(|first| first != held);
        if is_renewed || is_fresh(held, Timestamp::now()) {
            return Check::ok(LEADER, format!("{} leads", held.holder));
        }
        first.get_or_insert_with(|| held.clone());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns whether a Lease was renewed within its duration, if the clocks agree.
fn is_fresh(term: &Term, now: Timestamp) -> bool {
    let renewed: Option<Timestamp> = term.renewed.parse().ok();
    renewed.is_some_and(|renewed| {
        let age = now.as_second().saturating_sub(renewed.as_second());
        let duration = i64::try_from(term.duration.as_secs()).unwrap_or(i64::MAX);
        (0..=duration).contains(&age)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::Status;
    use super::*;

    #[test]
    fn fewer_ready_replicas_than_wanted_are_a_failure() {
        let of = |spec: Value, status: Value| {
            replicas(&Ok(Some(json!({ "spec": spec, "status": status }))), "ns")
        };
        let two = || json!({ "replicas": 2 });
        assert_eq!(of(two(), json!({ "readyReplicas": 2 })).status, Status::Ok);
        assert_eq!(of(two(), json!({ "readyReplicas": 3 })).status, Status::Ok);
        let one = of(two(), json!({ "readyReplicas": 1 }));
        assert_eq!((one.status, &*one.says), (Status::Failed, "1 of 2 replicas are ready"));
        assert!(one.remedy.unwrap().contains("kubectl -n ns get pods"));
        assert_eq!(of(two(), json!({})).status, Status::Failed);
        assert_eq!(of(json!({}), json!({ "readyReplicas": 1 })).status, Status::Ok);
        let none = of(json!({ "replicas": 0 }), json!({}));
        assert!(none.remedy.unwrap().contains("--replicas 2"));
        assert_eq!(replicas(&Ok(None), "ns").status, Status::Skipped);
        let error = Error::Forbidden("no".into());
        assert_eq!(replicas(&Err(error), "ns").status, Status::Unknown);
    }

    #[test]
    fn a_lease_is_fresh_for_its_duration() {
        let term = |renewed: &str| Term {
            holder: "a".into(),
            renewed: renewed.into(),
            duration: Duration::from_secs(15),
        };
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert!(is_fresh(&term("2026-01-01T00:00:45.000000Z"), now));
        assert!(!is_fresh(&term("2026-01-01T00:00:44.999999Z"), now));
        assert!(!is_fresh(&term("2026-01-01T00:01:01.000000Z"), now), "a clock is wrong");
        assert!(!is_fresh(&term(""), now));
    }
}
