//! Who may ask: the real API server and scheduler with client certificates, and without.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::fixture::{ClientCertificate, ControlPlane, Lanekeeper, until};
use crate::objects::{launcher_pod, like, vmi};

/// How many fresh reads were made for clients.
async fn reads(lanekeeper: &Lanekeeper) -> u64 {
    lanekeeper.metric("lanekeeper_fresh_read_duration_seconds_count", &[]).await
}

/// Arguments that make the API server show a certificate to our webhooks, as the documentation says.
fn admission(path: &Path, port: u16, client: &ClientCertificate) -> Vec<String> {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config",
        "users": [{"name": format!("localhost:{port}"), "user": {
            "client-certificate": client.cert, "client-key": client.key,
        }}],
    });
    let file = path.join("webhooks.kubeconfig");
    fs::write(&file, kubeconfig.to_string()).unwrap();
    let plugin = |name: &str| {
        json!({"name": name, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": file,
        }})
    };
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": [plugin("ValidatingAdmissionWebhook"), plugin("MutatingAdmissionWebhook")],
    });
    let file = path.join("admission.yaml");
    fs::write(&file, config.to_string()).unwrap();
    vec![format!("--admission-control-config-file={}", file.display())]
}

/// The reference cluster, and our program, which answers clients of this CA alone.
async fn install(plane: &ControlPlane, client: &ClientCertificate) -> Lanekeeper {
    plane.install().await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    let ca = client.ca.to_str().unwrap();
    let lanekeeper = plane.lanekeeper_with(&["--client-ca", ca]).await.ready().await;
    plane.install_webhooks().await;
    lanekeeper
}

pub async fn clients_with_a_certificate_are_answered() {
    let certificates = tempfile::tempdir().unwrap();
    let client = ClientCertificate::make(certificates.path());
    let mut plane = ControlPlane::prepared(|path, port| admission(path, port, &client)).await;
    let lanekeeper = install(&plane, &client).await;
    plane.start_scheduler_as(Some(&client));

    let vmi = plane.create(&vmi("vm1", &["vm-network-b", "vm-network-c"])).await;
    let pod = plane.create(&launcher_pod(&vmi)).await;
    let host = until("vm1 to be bound", async || plane.host_of(&pod).await).await;
    assert_eq!(host, "host2", "the scheduler asked");

    let before = reads(&lanekeeper).await;
    let refused = until("a refusal of ours", async || {
        let error =
            plane.would_delete(&like("VlanConfig", "network-config-b")).await.err()?.to_string();
        error.contains("vc-running-vms").then_some(error)
    })
    .await;
    assert!(refused.contains("default/vm1 (host2)"), "{refused}");
    assert!(reads(&lanekeeper).await > before, "what a client's review needs is read afresh");
    assert!(lanekeeper.metric("lanekeeper_filter_requests_total", &["kept"]).await >= 1);
}

pub async fn clients_without_one_get_401_and_cause_no_read() {
    let certificates = tempfile::tempdir().unwrap();
    let client = ClientCertificate::make(certificates.path());
    let stranger = tempfile::tempdir().unwrap();
    let stranger = ClientCertificate::make(stranger.path());
    let mut plane = ControlPlane::start().await;
    let lanekeeper = install(&plane, &client).await;
    plane.start_scheduler_as(None);

    let error = until("a call of a webhook to fail", async || {
        let error =
            plane.would_delete(&like("VlanConfig", "network-config-b")).await.err()?.to_string();
        error.contains("failed calling webhook").then_some(error)
    })
    .await;
    assert!(error.contains("provide credentials"), "as the API server says it: {error}");
    let vmi = plane.create(&vmi("vm1", &["vm-network-b", "vm-network-c"])).await;
    let pod = plane.create(&launcher_pod(&vmi)).await;
    let event = until("an event about the extender", async || {
        let events = plane.events_of("virt-launcher-vm1").await;
        events.into_iter().find(|event| event.contains("401") || event.contains("extender"))
    })
    .await;
    assert!(event.contains("401"), "{event}");
    assert_eq!(plane.host_of(&pod).await, None);

    // By hand: without a certificate, and with one of another CA.
    let url = format!("https://localhost:{}/validate", plane.port);
    let ca = fs::read(plane.folder.path().join("tls/ca.crt")).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    let builder = || reqwest::Client::builder().tls_certs_only([ca.clone()]).no_proxy();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "1", "operation": "DELETE", "name": "network-config-b",
            "kind": {"group": "network.harvesterhci.io", "version": "v1beta1", "kind": "VlanConfig"},
        },
    });
    let answer = builder().build().unwrap().post(&url).json(&review).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let text = answer.text().await.unwrap();
    assert!(text.starts_with("a client certificate is required") && !text.contains("vm"), "{text}");
    let pem = [fs::read(&stranger.cert).unwrap(), fs::read(&stranger.key).unwrap()].concat();
    let identity = reqwest::Identity::from_pem(&pem).unwrap();
    let answer =
        builder().identity(identity).build().unwrap().post(&url).json(&review).send().await;
    assert!(answer.is_err(), "a certificate that we don't trust ends the handshake");

    assert_eq!(reads(&lanekeeper).await, 0, "nobody made us read");
    assert_eq!(lanekeeper.metric("lanekeeper_admission_requests_total", &[]).await, 0);
    assert!(lanekeeper.readiness().await.0, "probes need none");
}
