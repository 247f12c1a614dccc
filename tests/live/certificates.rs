//! Certificates that the leader issues: from nothing, rotated, and under a new CA.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lanekeeper::pki::authority::{Authority, Content, Role};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use crate::fixture::{ControlPlane, Installed, Replica, until};
use crate::objects::like;
use crate::replicas::{Load, cluster};

/// `lanekeeper certs`, as an administrator runs it.
fn certs(plane: &ControlPlane, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lanekeeper"))
        .args(["certs", "ca"])
        .args(arguments)
        .arg("--kubeconfig")
        .arg(plane.folder.path().join("admin.kubeconfig"))
        .output()
        .unwrap()
}

/// The output of a step that must succeed.
fn step(plane: &ControlPlane, step: &str) -> String {
    let done = certs(plane, &[step]);
    assert!(done.status.success(), "{step}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

async fn content(plane: &ControlPlane) -> Content {
    let secret = plane.get(&like("Secret", "lanekeeper-tls")).await.unwrap();
    let data: BTreeMap<String, String> =
        serde_json::from_value(secret["data"].clone()).unwrap_or_default();
    data.into_iter().map(|(key, value)| (key, STANDARD.decode(value).unwrap())).collect()
}

async fn authority(plane: &ControlPlane) -> Authority {
    Authority::read(&content(plane).await).unwrap().unwrap()
}

/// `caBundle` of every webhook.
async fn bundles(plane: &ControlPlane) -> Vec<Vec<u8>> {
    let mut bundles = Vec::new();
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        let found = plane.get(&like(kind, "lanekeeper")).await.unwrap();
        for webhook in found["webhooks"].as_array().unwrap() {
            let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
            bundles.push(STANDARD.decode(bundle).unwrap());
        }
    }
    bundles
}

/// Waits until every webhook trusts just what the Secret says.
async fn trusted(plane: &ControlPlane) {
    until("caBundle to follow", async || {
        let bundle = content(plane).await.remove("bundle.crt")?;
        bundles(plane).await.iter().all(|it| *it == bundle).then_some(())
    })
    .await;
}

/// Waits until every replica serves the certificate of the Secret.
async fn served(plane: &ControlPlane, replicas: &[Replica]) {
    for replica in replicas {
        until(&format!("{} to serve it", replica.name), async || {
            let until = authority(plane).await.leaf().ok()?.validity.until;
            let serves =
                replica.metric("lanekeeper_certificate_expiry_timestamp_seconds", &[]).await;
            (i64::try_from(serves) == Ok(until)).then_some(())
        })
        .await;
    }
}

/// A client that trusts these CAs, and whose every call is a handshake of its own.
fn client(bundle: &[u8]) -> reqwest::Client {
    let mut roots = rustls::RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(bundle) {
        roots.add(ca.unwrap()).unwrap();
    }
    let mut config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // A session that is resumed needs no certificate.
    config.resumption = Resumption::disabled();
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .unwrap()
}

async fn filter(port: u16, bundle: &[u8]) -> Result<(), String> {
    let networks = "vm-network-b,vm-network-c";
    let pod = json!({"metadata": {"namespace": "default",
        "annotations": {"k8s.v1.cni.cncf.io/networks": networks}}});
    let arguments = json!({"Pod": pod, "NodeNames": ["host1", "host2"]});
    let url = format!("https://127.0.0.1:{port}/scheduler/filter");
    let sent = client(bundle).post(url).body(arguments.to_string()).send().await;
    let answer: Value = match sent {
        Ok(answer) => answer.json().await.map_err(|error| format!("{error:?}"))?,
        Err(error) => return Err(format!("{error:?}")),
    };
    let kept = answer["NodeNames"] == json!(["host2"]);
    if kept { Ok(()) } else { Err(answer.to_string()) }
}

/// Calls of the filter by a scheduler that trusts what it read at its start, until it is stopped.
struct Filters {
    stop: Arc<AtomicBool>,
    trusts: Arc<Mutex<Vec<u8>>>,
    calls: JoinHandle<(usize, Vec<String>)>,
}

impl Filters {
    /// Begins once every replica knows the reference cluster.
    async fn start(port: u16, bundle: Vec<u8>) -> Self {
        let mut in_a_row = 0;
        until("every replica to answer", async || {
            in_a_row = if filter(port, &bundle).await.is_ok() { in_a_row + 1 } else { 0 };
            (in_a_row == 10).then_some(())
        })
        .await;
        let stop = Arc::new(AtomicBool::new(false));
        let trusts = Arc::new(Mutex::new(bundle));
        let (stopped, trusted) = (stop.clone(), trusts.clone());
        let calls = tokio::spawn(async move {
            let (mut number, mut errors) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let bundle = trusted.lock().unwrap().clone();
                errors.extend(filter(port, &bundle).await.err());
                number += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (number, errors)
        });
        Self { stop, trusts, calls }
    }

    /// The scheduler starts again.
    fn restart(&self, bundle: Vec<u8>) {
        *self.trusts.lock().unwrap() = bundle;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (number, errors) = self.calls.await.unwrap();
        assert!(number > 20, "{number} calls of the filter");
        assert!(errors.is_empty(), "{} of {number}: {}", errors.len(), errors[0]);
    }
}

/// Ends a load of which no webhook call may have failed, and whose pods all run.
async fn nothing_was_lost(plane: &ControlPlane, load: Load) {
    let pods = load.pods.clone();
    let calls = load.end().await;
    let errors: Vec<_> = calls.iter().filter_map(|call| call.error.clone()).collect();
    assert!(errors.is_empty(), "{} of {} calls: {}", errors.len(), calls.len(), errors[0]);
    let pods = pods.load(Ordering::Relaxed);
    assert!(calls.len() > 20 && pods > 2, "{} calls, {pods} pods", calls.len());
    for number in 0..pods {
        let name = format!("virt-launcher-load-{number}");
        let pod = like("Pod", &name);
        let host = until(&format!("{name} to be bound"), async || plane.host_of(&pod).await).await;
        assert_eq!(host, "host2");
    }
}

/// Waits until pods that are made from now on are bound.
async fn pods_are_bound(plane: &ControlPlane, load: &Load) {
    let from = load.pods.load(Ordering::Relaxed);
    for number in from + 1..from + 3 {
        let pod = like("Pod", &format!("virt-launcher-load-{number}"));
        until("a new pod to be bound", async || {
            plane.get(&pod).await?;
            plane.host_of(&pod).await
        })
        .await;
    }
}

pub async fn an_installation_makes_its_own_certificates() {
    let plane = ControlPlane::start().await;
    let installed = Installed::at_once(&plane, &[]).await;
    plane.install_foreign_kinds().await;
    let empty = certs(&plane, &["status"]);
    assert_eq!(empty.status.code(), Some(2));
    let why = String::from_utf8_lossy(&empty.stderr).into_owned();
    assert!(why.contains("Secret lanekeeper-system/lanekeeper-tls is empty"), "{why}");
    let extra = ["--tls-san", "lanekeeper.example.com"];
    let replica = installed.replica_with("lanekeeper-0", &extra).await.ready().await;
    installed.enforced(&plane).await;
    trusted(&plane).await;

    let authority = authority(&plane).await;
    let service = plane.get(&like("Service", "lanekeeper")).await.unwrap();
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    let leaf = authority.leaf().unwrap();
    for name in ["lanekeeper.lanekeeper-system.svc", address, "127.0.0.1", "lanekeeper.example.com"]
    {
        assert!(leaf.names.contains(&name.parse().unwrap()), "{name}: {:?}", leaf.names);
    }
    let status = certs(&plane, &["status", "-o", "json"]);
    assert_eq!(status.status.code(), Some(0), "{}", String::from_utf8_lossy(&status.stderr));
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["cas"][0]["subject"], json!(authority.current().subject));
    assert_eq!(certs(&plane, &["show"]).stdout, content(&plane).await["bundle.crt"]);
    for name in ["lanekeeper_ca_expiry_timestamp_seconds", "lanekeeper_ca_step_due"] {
        assert!(replica.program.metric_is_there(name, "").await, "{name}");
    }

    // A damaged CA stays as it is, and whoever can't serve without it says so.
    let secret = like("Secret", "lanekeeper-tls");
    let key = content(&plane).await.remove("ca.key").unwrap();
    plane
        .merge(&secret, json!({"data": {"ca.key": STANDARD.encode("odd"), "tls.crt": null}}))
        .await;
    until("the leader to say so", async || {
        replica.said("Secret lanekeeper-system/lanekeeper-tls is damaged: ca.key").then_some(())
    })
    .await;
    let second = installed.replica("lanekeeper-1").await;
    until("a replica without a certificate to say so", async || {
        let (ready, text) = second.program.readiness().await;
        (!ready && text.contains("no serving certificate yet: Secret")).then_some(())
    })
    .await;
    assert_eq!(content(&plane).await["ca.key"], b"odd");
    plane.merge(&secret, json!({"data": {"ca.key": STANDARD.encode(key)}})).await;
    second.ready().await;
    assert_eq!(content(&plane).await["ca.crt"], authority.content()["ca.crt"]);
}

pub async fn nobody_notices_that_the_leaf_is_rotated() {
    let (plane, installed, replicas) = cluster().await;
    let bundle = content(&plane).await.remove("bundle.crt").unwrap();
    let load = Load::start(&plane.client);
    let filters = Filters::start(installed.service.port, bundle.clone()).await;
    let secret = like("Secret", "lanekeeper-tls");
    for _ in 0..2 {
        let mut authority = authority(&plane).await;
        let names = authority.leaf().unwrap().names;
        authority.issue(&names, OffsetDateTime::now_utc() - time::Duration::days(61)).unwrap();
        let aged = authority.content();
        let data = json!({"data": {
            "tls.crt": STANDARD.encode(&aged["tls.crt"]), "tls.key": STANDARD.encode(&aged["tls.key"]),
        }});
        plane.merge(&secret, data).await;
        until("the leaf to be rotated", async || {
            (content(&plane).await["tls.crt"] != aged["tls.crt"]).then_some(())
        })
        .await;
        served(&plane, &replicas).await;
        pods_are_bound(&plane, &load).await;
        let now = content(&plane).await;
        assert_eq!((&now["ca.crt"], &now["bundle.crt"]), (&aged["ca.crt"], &bundle));
    }
    filters.end().await;
    nothing_was_lost(&plane, load).await;
}

pub async fn the_ca_changes_in_three_steps() {
    let (mut plane, installed, replicas) = cluster().await;
    let old = content(&plane).await.remove("bundle.crt").unwrap();
    let load = Load::start(&plane.client);
    let filters = Filters::start(installed.service.port, old.clone()).await;

    let said = step(&plane, "next");
    assert!(said.contains("lanekeeper certs ca promote"), "{said}");
    assert_eq!(certs(&plane, &["next"]).status.code(), Some(2), "there is a next one");
    let due = certs(&plane, &["status"]);
    assert_eq!(due.status.code(), Some(1), "{}", String::from_utf8_lossy(&due.stdout));
    trusted(&plane).await;
    for replica in &replicas {
        until("the metric to follow", async || {
            let due = replica.metric("lanekeeper_ca_step_due", &["promote"]).await;
            (due == 1).then_some(())
        })
        .await;
    }
    pods_are_bound(&plane, &load).await;

    installed.keep_bundle(&plane).await;
    installed.start_scheduler(&mut plane);
    filters.restart(certs(&plane, &["show"]).stdout);
    pods_are_bound(&plane, &load).await;

    let said = step(&plane, "promote");
    assert!(said.contains("assumes that every kube-scheduler was restarted"), "{said}");
    served(&plane, &replicas).await;
    trusted(&plane).await;
    pods_are_bound(&plane, &load).await;
    let refused = filter(installed.service.port, &old).await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");

    let early = certs(&plane, &["retire"]);
    assert_eq!(early.status.code(), Some(2), "{}", String::from_utf8_lossy(&early.stdout));
    until("the old CA to be retired", async || {
        certs(&plane, &["retire"]).status.success().then_some(())
    })
    .await;
    trusted(&plane).await;
    let roles: Vec<Role> = authority(&plane).await.cas().iter().map(|(role, _)| *role).collect();
    assert_eq!(roles, [Role::Current]);
    pods_are_bound(&plane, &load).await;
    assert_eq!(certs(&plane, &["status"]).status.code(), Some(0));

    installed.keep_bundle(&plane).await;
    installed.start_scheduler(&mut plane);
    filters.restart(certs(&plane, &["show"]).stdout);
    pods_are_bound(&plane, &load).await;
    filters.end().await;
    nothing_was_lost(&plane, load).await;
}
