//! What `lanekeeper manifests` prints, as the API server and kube-scheduler take it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{self, ControlPlane, Process, until};
use crate::objects::{documents, launcher_pod, node_status, vmi};

/// What `lanekeeper manifests` prints with these arguments.
fn printed(arguments: &[&str]) -> Vec<Value> {
    let printed = Command::new(env!("CARGO_BIN_EXE_lanekeeper"))
        .arg("manifests")
        .args(arguments)
        .output()
        .unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    documents(&String::from_utf8(printed.stdout).unwrap())
}

/// Applies documents strictly and in order, and once more, which changes nothing.
async fn apply_twice(plane: &ControlPlane, documents: &[Value]) {
    for document in documents {
        let applied = plane.apply(document).await;
        let again = plane.apply(document).await;
        let version = |it: &Value| it["metadata"]["resourceVersion"].clone();
        if document["kind"] != "CustomResourceDefinition" {
            assert_eq!(version(&applied), version(&again), "{document}");
        }
    }
}

pub async fn every_overlay_passes_strict_validation() {
    let plane = ControlPlane::start().await;
    for overlay in ["kubevirt", "harvester"] {
        for certificate in ["secret", "cert-manager"] {
            let mut documents = printed(&["--overlay", overlay, "--certificate", certificate]);
            // cert-manager's own kinds are not there.
            documents.retain(|it| it["apiVersion"] != "cert-manager.io/v1");
            apply_twice(&plane, &documents).await;
        }
    }
}

/// A pod of the Deployment, as its controller would make it.
fn pod(documents: &[Value], number: usize) -> Value {
    let deployment = documents.iter().find(|it| it["kind"] == "Deployment").unwrap();
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(format!("lanekeeper-{number}"));
    pod["metadata"]["namespace"] = deployment["metadata"]["namespace"].clone();
    pod["metadata"]["labels"]["pod-template-hash"] = json!("1");
    pod
}

async fn try_create(plane: &ControlPlane, pod: &Value) -> Result<Value, kube::Error> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap();
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict");
    let request = http::Request::post(path).header("content-type", "application/json");
    plane.client.request(request.body(pod.to_string().into_bytes()).unwrap()).await
}

pub async fn a_pod_of_ours_passes_the_strictest_standard() {
    let plane = ControlPlane::start().await;
    for certificate in ["secret", "cert-manager"] {
        let documents = printed(&["--certificate", certificate]);
        let namespace = documents.iter().find(|it| it["kind"] == "Namespace").unwrap();
        plane.apply(namespace).await;
        let pod = pod(&documents, 0);
        until("the priority classes", async || match try_create(&plane, &pod).await {
            Ok(made) => {
                assert_eq!(made["spec"]["priority"], 2_000_000_000);
                Some(())
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("no PriorityClass"), "{error}");
                None
            }
        })
        .await;
        let mut as_root = pod.clone();
        as_root["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
        let error = try_create(&plane, &as_root).await.unwrap_err().to_string();
        assert!(error.contains("violates PodSecurity \"restricted"), "{error}");
    }
}

/// Makes a host with these labels and taints.
pub async fn make_host(plane: &ControlPlane, name: &str, labels: &[&str], taints: &[(&str, &str)]) {
    let mut host = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect::<Vec<_>>()},
        "status": node_status(),
    });
    for label in labels {
        host["metadata"]["labels"][label] = json!("true");
    }
    plane.apply(&host).await;
}

/// Makes pods of the Deployment and returns their hosts.
async fn place(plane: &ControlPlane, documents: &[Value], numbers: &[usize]) -> Vec<String> {
    let mut hosts = Vec::new();
    for number in numbers {
        let pod = pod(documents, *number);
        plane.create(&pod).await;
        hosts.push(until("the pod to be placed", async || plane.host_of(&pod).await).await);
    }
    hosts
}

pub async fn replicas_are_spread_over_hosts_where_there_are_some() {
    const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
    let mut plane = ControlPlane::start().await;
    let documents = printed(&[]);
    let is_base =
        |it: &&Value| ["Namespace", "ServiceAccount"].contains(&it["kind"].as_str().unwrap());
    for document in documents.iter().filter(is_base) {
        plane.apply(document).await;
    }
    plane.start_scheduler();
    // A lone host takes both, and a third during an update; hosts that take none do not count.
    make_host(&plane, "alone", &[], &[]).await;
    make_host(&plane, "tainted", &[], &[("dedicated", "NoSchedule")]).await;
    make_host(&plane, "witness", &["node-role.harvesterhci.io/witness"], &[]).await;
    assert_eq!(place(&plane, &documents, &[0, 1, 2]).await, ["alone"; 3]);
    for number in 0..3 {
        plane.delete(&pod(&documents, number)).await;
    }
    // The host of the control plane is preferred, and takes only one of two, however little else
    // speaks for the other host.
    make_host(&plane, "alone", &[], &[("busy", "PreferNoSchedule")]).await;
    make_host(&plane, "control-plane", &[CONTROL_PLANE], &[(CONTROL_PLANE, "NoSchedule")]).await;
    plane.known_to_scheduler("control-plane").await;
    assert_eq!(place(&plane, &documents, &[3, 4]).await, ["control-plane", "alone"]);
}

/// kube-scheduler with a rendered configuration, as this user.
pub fn start_scheduler(folder: &Path, mut configuration: Value, kubeconfig: &Path) -> Process {
    configuration["clientConnection"]["kubeconfig"] = json!(kubeconfig);
    let file = folder.join("rendered.yaml");
    fs::write(&file, configuration.to_string()).unwrap();
    let port = fixture::free_port();
    let kubeconfig = kubeconfig.display();
    Process::start(Command::new(fixture::program()).arg("scheduler").args([
        format!("--config={}", file.display()),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--authentication-tolerate-lookup-failure=false".to_owned(),
    ]))
}

/// Makes a pod for vm1, which only host2 can run, and waits until it is bound there.
async fn land(plane: &ControlPlane, scheduler: &str) {
    let vmi = plane.create(&vmi("vm1-here", &["vm-network-b", "vm-network-c"])).await;
    let mut pod = launcher_pod(&vmi);
    pod["spec"]["schedulerName"] = json!(scheduler);
    let pod = plane.create(&pod).await;
    let host = until("the pod to be bound", async || plane.host_of(&pod).await).await;
    assert_eq!(host, "host2");
}

pub async fn a_second_scheduler_places_the_vms_that_name_it() {
    const NAME: &str = "lanekeeper-scheduler";
    let plane = ControlPlane::start().await;
    plane.install().await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    let rendered = printed(&["--scheduler", "second"]);
    apply_twice(&plane, &rendered).await;
    let lanekeeper = plane.lanekeeper().await.ready().await;

    let account = format!("/api/v1/namespaces/lanekeeper-system/serviceaccounts/{NAME}/token");
    let request = http::Request::post(account).header("content-type", "application/json");
    let token =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let request = request.body(token.to_string().into_bytes()).unwrap();
    let answer: Value = plane.client.request(request).await.unwrap();
    let admin = fs::read_to_string(plane.folder.path().join("admin.kubeconfig")).unwrap();
    let own = admin.replace("admin-token", answer["status"]["token"].as_str().unwrap());
    let kubeconfig = plane.folder.path().join("scheduler.kubeconfig");
    fs::write(&kubeconfig, own).unwrap();

    let of_kind = |kind: &str| rendered.iter().find(|it| it["kind"] == kind).unwrap();
    let text = of_kind("ConfigMap")["data"]["scheduler.yaml"].as_str().unwrap();
    let mut configuration: Value = serde_saphyr::from_str(text).unwrap();
    let extender = &mut configuration["extenders"][0];
    extender["urlPrefix"] = json!(format!("https://localhost:{}/scheduler", plane.port));
    extender["tlsConfig"]["caFile"] = json!(plane.folder.path().join("tls/ca.crt"));
    let scheduler = start_scheduler(plane.folder.path(), configuration, &kubeconfig);
    land(&plane, NAME).await;
    assert!(lanekeeper.metric("lanekeeper_filter_requests_total", &[]).await > 0);
    let lease = plane.get(of_kind("Lease")).await.unwrap();
    assert!(lease["spec"]["holderIdentity"].is_string(), "{lease}");
    assert!(!scheduler.said("forbidden"), "{:?}", scheduler.log.lock().unwrap());
}

/// A certificate for the Service's name alone, with its CA, in place of the fixture's.
fn certify_the_service(folder: &Path) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    fs::write(folder.join("ca.crt"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let name = "lanekeeper.lanekeeper-system.svc".to_owned();
    let leaf = rcgen::CertificateParams::new([name]).unwrap();
    let issuer = rcgen::Issuer::from_params(&ca, &ca_key);
    fs::write(folder.join("tls.crt"), leaf.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
}

pub async fn a_scheduler_on_its_host_calls_an_address_and_checks_the_services_name() {
    let plane = ControlPlane::start().await;
    certify_the_service(&plane.folder.path().join("tls"));
    plane.install().await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    let _lanekeeper = plane.lanekeeper().await.ready().await;
    let ca = plane.folder.path().join("tls/ca.crt");
    let rendered = printed(&[
        "--scheduler=kubeadm",
        &format!("--ca-file={}", ca.display()),
        &format!("--scheduler-address=127.0.0.1:{}", plane.port),
    ]);
    let kubeconfig = plane.folder.path().join("admin.kubeconfig");
    let [configuration] = &rendered[..] else { panic!("one document") };
    let scheduler = start_scheduler(plane.folder.path(), configuration.clone(), &kubeconfig);
    land(&plane, "default-scheduler").await;
    assert!(!scheduler.said("x509"), "{:?}", scheduler.log.lock().unwrap());
}
