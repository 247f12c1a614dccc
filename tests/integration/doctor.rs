//! `lanekeeper doctor` against an API server that keeps objects in memory, in paused time. What a real
//! scheduler answers is in `tests/live/doctor.rs`.

use std::time::Duration;

use http::Method;
use lanekeeper::commands::doctor::{Doctor, diagnosis_of};
use lanekeeper::view::Form;
use serde_json::{Value, json};

use crate::store::Store;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/lanekeeper-system/leases/lanekeeper";
const PODS: &str = "/api/v1/namespaces/lanekeeper-system/pods";
const EVENTS: &str = "/api/v1/namespaces/lanekeeper-system/events";

/// What doctor says.
struct Said {
    failed: bool,
    unknown: bool,
    checks: Vec<Value>,
}

impl Said {
    fn check(&self, name: &str) -> [&str; 3] {
        let check = self.checks.iter().find(|check| check["name"] == name).unwrap();
        ["status", "says", "remedy"].map(|field| check[field].as_str().unwrap_or_default())
    }
}

async fn doctor(store: &Store) -> Said {
    let settings = Doctor {
        kubeconfig: None,
        namespace: "lanekeeper-system".to_owned(),
        scheduler: "default-scheduler".to_owned(),
        timeout: Duration::from_mins(1),
    };
    let said = diagnosis_of(&store.api(), &settings, Form::Json).await.unwrap();
    let answer: Value = serde_json::from_str(&said.text).unwrap();
    let checks = answer["checks"].as_array().unwrap().clone();
    Said { failed: said.failed, unknown: said.unknown, checks }
}

fn version() -> (String, Value) {
    ("/version".to_owned(), json!({ "gitVersion": "v1.33.0" }))
}

/// A group with these kinds.
fn group(path: &str, plurals: &[&str]) -> (String, Value) {
    let resources: Vec<Value> = plurals.iter().map(|name| json!({ "name": name })).collect();
    (path.to_owned(), json!({ "resources": resources }))
}

fn lease(renewed: &str) -> (String, Value) {
    let spec = json!({ "holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": renewed });
    (LEASE.to_owned(), json!({ "spec": spec }))
}

#[tokio::test(start_paused = true)]
async fn without_an_api_server_all_other_checks_are_skipped() {
    let store = Store::with([], |_, _, _| Some((503, json!({ "message": "starting" }))));
    let said = doctor(&store).await;
    assert_eq!((said.failed, said.unknown), (false, true));
    let [status, says, remedy] = said.check("api-server");
    assert!(status == "unknown" && says.contains("starting") && remedy.contains("--kubeconfig"));
    assert_eq!(said.checks.len(), 10);
    for check in &said.checks[1..] {
        assert_eq!(check["status"], "skipped", "{check}");
        assert!(check["says"].as_str().unwrap().contains("`api-server`"), "{check}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_an_empty_cluster_every_check_says_what_is_missing() {
    let said = doctor(&Store::new([version()])).await;
    assert!(said.failed);
    for (name, status, says) in [
        ("api-server", "ok", "v1.33.0"),
        ("definitions", "failed", "ClusterNetwork, VlanConfig"),
        ("webhooks", "failed", "ValidatingWebhookConfiguration lanekeeper does not exist"),
        ("webhook-ca", "skipped", "is empty"),
        ("webhook-call", "skipped", "`definitions`"),
        ("certificate", "skipped", "there is no Secret"),
        ("ca", "skipped", "there is no Secret"),
        ("replicas", "skipped", "no Deployment"),
        ("leader", "failed", "no Lease"),
        ("scheduler", "unknown", "in 60 s"),
    ] {
        let [is, text, _] = said.check(name);
        assert_eq!(is, status, "{name}: {text}");
        assert!(text.contains(says), "{name}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_kubevirt_and_multus_is_no_fault() {
    let ours = group(
        "/apis/network.harvesterhci.io/v1beta1",
        &["clusternetworks", "vlanconfigs", "vlanstatuses", "linkmonitors"],
    );
    let said = doctor(&Store::new([version(), ours])).await;
    let [status, says, _] = said.check("definitions");
    assert_eq!(status, "ok");
    for what in ["HostNetworkConfig", "Multus is not installed", "KubeVirt is not installed"] {
        assert!(says.contains(what), "{says}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_renews_its_lease_leads_whatever_its_clock_says() {
    let mut renewals = 0;
    let store = Store::with([version(), lease("")], move |_, path, objects| {
        if path == LEASE {
            renewals += 1;
            objects.get_mut(path).unwrap()["spec"]["renewTime"] =
                json!(format!("2001-01-01T00:00:0{}.000000Z", renewals / 3));
        }
        None
    });
    let [status, says, _] = doctor(&store).await.check("leader").map(str::to_owned);
    assert_eq!((&*status, &*says), ("ok", "one leads"));
    let said = doctor(&Store::new([version(), lease("2001-01-01T00:00:00.000000Z")])).await;
    let [status, says, remedy] = said.check("leader");
    assert_eq!(status, "failed");
    assert!(says.contains("one holds the Lease and does not renew it"), "{says}");
    assert!(remedy.contains("logs"), "{remedy}");
}

#[tokio::test(start_paused = true)]
async fn the_canary_is_deleted_whatever_becomes_of_it() {
    let event = || {
        let message = "0/3 nodes are available: 3 VM network \
                       lanekeeper-system/lanekeeper-doctor-no-such-network does not exist.";
        (format!("{EVENTS}/e"), json!({ "reason": "FailedScheduling", "message": message }))
    };
    let left = || {
        let labels = json!({ "app.kubernetes.io/name": "lanekeeper-doctor" });
        (format!("{PODS}/left"), json!({ "metadata": { "name": "left", "labels": labels } }))
    };
    let deleted = format!("DELETE {PODS}/lanekeeper-doctor-x");
    let made = format!("POST {PODS}");

    let store = Store::new([version(), event(), left()]);
    assert_eq!(doctor(&store).await.check("scheduler")[0], "ok");
    let writes = [&format!("DELETE {PODS}/left"), &made, &deleted];
    assert_eq!(store.writes().iter().collect::<Vec<_>>(), writes);

    // The events can't be read.
    let store = Store::with([version()], |_, path, _| {
        (path == EVENTS).then(|| (403, json!({ "message": "events is forbidden" })))
    });
    let said = doctor(&store).await;
    let [status, says, _] = said.check("scheduler");
    assert!(status == "unknown" && says.contains("events is forbidden"), "{says}");
    assert_eq!(store.writes(), [&*made, &deleted]);

    // It can't be made.
    let store = Store::with([version()], |method, path, _| {
        let refused = json!({ "message": "exceeded quota" });
        (method == Method::POST && path == PODS).then_some((403, refused))
    });
    let said = doctor(&store).await;
    let [status, says, _] = said.check("scheduler");
    assert!(status == "unknown" && says.contains("exceeded quota"), "{says}");

    // It can't be deleted.
    let store = Store::with([version(), event()], |method, path, _| {
        let refused = json!({ "message": "no" });
        (method == Method::DELETE && path.starts_with(PODS)).then_some((403, refused))
    });
    let said = doctor(&store).await;
    let [status, _, remedy] = said.check("scheduler");
    assert_eq!(status, "ok");
    let by_hand = "kubectl -n lanekeeper-system delete pod lanekeeper-doctor-x";
    assert!(remedy.contains(by_hand), "{remedy}");
}
