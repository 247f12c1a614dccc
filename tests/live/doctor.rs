//! `lanekeeper doctor`: an installation that is right passes every check, and of one that is not the
//! right check fails.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lanekeeper::pki::authority::Authority;
use lanekeeper::pki::names;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::controller;
use crate::fixture::{ControlPlane, Installed, Replica, leader, until};
use crate::objects::like;

/// What doctor said.
struct Diagnosis {
    status: i32,
    checks: Vec<Value>,
}

impl Diagnosis {
    fn of(&self, name: &str) -> &Value {
        let named = self.checks.iter().find(|check| check["name"] == name);
        named.unwrap_or_else(|| panic!("no check {name}: {:?}", self.checks))
    }

    /// The checks that ended so.
    fn those(&self, status: &str) -> Vec<&str> {
        let those = self.checks.iter().filter(|check| check["status"] == status);
        those.map(|check| check["name"].as_str().unwrap()).collect()
    }

    /// Exactly these failed, and what each says and advises holds these texts.
    fn failed(&self, expected: &[(&str, &str, &str)]) {
        let names: Vec<&str> = expected.iter().map(|(name, ..)| *name).collect();
        assert_eq!(self.those("failed"), names, "{:#?}", self.checks);
        assert_eq!(self.status, 1);
        for (name, says, remedy) in expected {
            let check = self.of(name);
            assert!(check["says"].as_str().unwrap().contains(says), "{check:#}");
            assert!(check["remedy"].as_str().unwrap().contains(remedy), "{check:#}");
        }
    }
}

/// Runs doctor as an administrator.
async fn doctor(plane: &ControlPlane, more: &[&str]) -> Diagnosis {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanekeeper"));
    command.args(["doctor", "-o", "json", "--kubeconfig"]);
    command.arg(plane.folder.path().join("admin.kubeconfig")).args(more);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let answer: Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{said}"));
    let left = pods(plane).await;
    assert!(left.is_empty(), "the canary was left: {left:?}");
    let checks = answer["checks"].as_array().unwrap().clone();
    Diagnosis { status: output.status.code().unwrap(), checks }
}

/// The pods in the namespace of Lanekeeper.
async fn pods(plane: &ControlPlane) -> Vec<Value> {
    let request = http::Request::get("/api/v1/namespaces/lanekeeper-system/pods");
    let answer: Value = plane.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
    answer["items"].as_array().unwrap().clone()
}

/// What the Deployment's controller would say.
async fn ready_replicas(plane: &ControlPlane, ready: u32) {
    let status = json!({"status": {"replicas": 2, "readyReplicas": ready}});
    plane.merge_status(&like("Deployment", "lanekeeper"), &status).await;
}

fn authority() -> Authority {
    let names = names("lanekeeper", "lanekeeper-system", &[], &[]);
    Authority::make(&names, OffsetDateTime::now_utc()).unwrap()
}

/// Makes every webhook trust this CA.
async fn trust(plane: &ControlPlane, authority: &Authority) {
    let ca = STANDARD.encode(authority.bundle());
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        let of = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": "lanekeeper"},
        });
        let mut webhooks = plane.get(&of).await.unwrap()["webhooks"].clone();
        for webhook in webhooks.as_array_mut().unwrap() {
            webhook["clientConfig"]["caBundle"] = json!(ca);
        }
        plane.merge(&of, json!({"webhooks": webhooks})).await;
    }
}

/// An installation whose replica is given the certificate of the Secret by files, so that its leader
/// corrects no CA.
pub struct Cluster {
    pub plane: ControlPlane,
    pub installed: Installed,
    pub replica: Replica,
    authority: Authority,
}

impl Cluster {
    pub async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let installed = Installed::at_once(&plane, &[]).await;
        plane.install_foreign_kinds().await;
        let authority = authority();
        let content = authority.content();
        let data: Value =
            content.iter().map(|(key, it)| (key.clone(), STANDARD.encode(it))).collect();
        plane.merge(&like("Secret", "lanekeeper-tls"), json!({"data": data})).await;
        trust(&plane, &authority).await;
        let [cert, key] = ["tls.crt", "tls.key"].map(|name| {
            let file = plane.folder.path().join(name);
            fs::write(&file, &content[name]).unwrap();
            file.display().to_string()
        });
        let given = ["--tls-cert", &*cert, "--tls-key", &*key];
        let replica = installed.replica_with("lanekeeper-0", &given).await.ready().await;
        installed.enforced(&plane).await;
        plane.apply_examples().await;
        ready_replicas(&plane, 2).await;
        until("a leader", async || leader(&plane).await).await;
        Self { plane, installed, replica, authority }
    }
}

pub async fn an_installation_as_it_is_printed_passes() {
    let (mut plane, installed, _replica) = controller::cluster(&[]).await;
    installed.start_scheduler(&mut plane);
    ready_replicas(&plane, 2).await;
    let right = doctor(&plane, &[]).await;
    assert_eq!(right.status, 0, "{:#?}", right.checks);
    assert_eq!(right.those("ok").len(), 10, "{:#?}", right.checks);
    // What somebody makes of caBundle, the leader corrects.
    trust(&plane, &authority()).await;
    until("the CA to be right again", async || {
        (doctor(&plane, &[]).await.status == 0).then_some(())
    })
    .await;
}

pub async fn each_fault_of_an_installation_is_found() {
    let Cluster { mut plane, installed, replica, authority } = Cluster::start().await;
    installed.start_scheduler(&mut plane);
    let right = doctor(&plane, &[]).await;
    assert_eq!(right.status, 0, "{:#?}", right.checks);
    assert_eq!(right.those("ok").len(), 10);

    // A replica that is not ready.
    ready_replicas(&plane, 1).await;
    let one = doctor(&plane, &[]).await;
    one.failed(&[("replicas", "1 of 2 replicas", "kubectl -n lanekeeper-system get pods")]);
    ready_replicas(&plane, 2).await;

    // Webhooks that trust another CA.
    trust(&plane, &self::authority()).await;
    let wrong = until("the API server to notice the CA", async || {
        let found = doctor(&plane, &[]).await;
        (found.of("webhook-call")["status"] == "failed").then_some(found)
    })
    .await;
    wrong.failed(&[
        ("webhook-ca", "caBundle lacks a CA", "`leader`"),
        ("webhook-call", "x509", "`webhook-ca`"),
    ]);
    trust(&plane, &authority).await;

    // Webhooks that are not registered.
    plane
        .delete(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "lanekeeper"},
        }))
        .await;
    let missing = doctor(&plane, &[]).await;
    missing.failed(&[("webhooks", "does not exist", "lanekeeper manifests")]);
    assert_eq!(missing.of("webhook-call")["status"], "skipped");
    installed.register(&plane).await;
    trust(&plane, &authority).await;

    // No replica at all.
    replica.terminate();
    until("the Lease to be given up", async || leader(&plane).await.is_none().then_some(())).await;
    let none = doctor(&plane, &[]).await;
    none.failed(&[
        ("webhook-call", "failed calling webhook", "endpointslices"),
        ("leader", "no replica holds the Lease", "logs"),
        ("scheduler", "/scheduler/filter", "urlPrefix"),
    ]);
}

pub async fn what_the_scheduler_lacks_is_found() {
    let Cluster { mut plane, installed, replica: _replica, .. } = Cluster::start().await;
    // It does not ask.
    installed.start_scheduler_with(&mut plane, |config| {
        config.as_object_mut().unwrap().remove("extenders");
    });
    let silent = doctor(&plane, &[]).await;
    silent.failed(&[("scheduler", "placed the canary pod on host", "Wiring kube-scheduler")]);

    // It asks only about other pods.
    installed.start_scheduler_with(&mut plane, |config| {
        config["extenders"][0]["managedResources"][0]["name"] = json!("example.com/other");
    });
    doctor(&plane, &[]).await.failed(&[("scheduler", "placed the canary pod", "extender's entry")]);

    // It does not trust us.
    let other = plane.folder.path().join("other.crt");
    fs::write(&other, authority().bundle()).unwrap();
    installed.start_scheduler_with(&mut plane, |config| {
        config["extenders"][0]["tlsConfig"]["caFile"] = json!(other);
    });
    let wrong = doctor(&plane, &[]).await;
    wrong.failed(&[("scheduler", "x509", "restart default-scheduler")]);

    // It asks somebody else.
    installed.start_scheduler_with(&mut plane, |config| {
        let prefix = format!("https://localhost:{}/other", installed.service.port);
        config["extenders"][0]["urlPrefix"] = json!(prefix);
    });
    doctor(&plane, &[]).await.failed(&[("scheduler", "404", "urlPrefix")]);

    // It has another name.
    let absent = doctor(&plane, &["--scheduler", "vms", "--timeout", "1"]).await;
    assert_eq!(absent.those("unknown"), ["scheduler"], "{:#?}", absent.checks);
    assert_eq!(absent.status, 2);

    // No host has the device. What is left of an earlier doctor goes, too.
    installed.start_scheduler(&mut plane);
    for host in 0..6 {
        let nothing = json!({"devices.kubevirt.io/tun": null});
        let status = json!({"status": {"allocatable": nothing, "capacity": nothing}});
        plane.merge_status(&like("Node", &format!("host{host}")), &status).await;
    }
    let left = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "lanekeeper-doctor-left", "namespace": "lanekeeper-system",
            "labels": {"app.kubernetes.io/name": "lanekeeper-doctor"},
        },
        "spec": {
            "schedulerName": "none",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "image": "c", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            }}],
        },
    });
    plane.create(&left).await;
    let device = doctor(&plane, &[]).await;
    assert_eq!(device.those("unknown"), ["scheduler"], "{:#?}", device.checks);
    assert!(device.of("scheduler")["remedy"].as_str().unwrap().contains("virt-handler"));
}
