//! `lanekeeper cleanup` against an API server that keeps objects in memory, in paused time.

use std::time::Duration;

use http::Method;
use lanekeeper::commands::cleanup::{Cleaned, Cleanup, Error, cleanup_of};
use lanekeeper::view::Form;
use serde_json::{Value, json};

use crate::store::Store;

const LEASES: &str = "/apis/coordination.k8s.io/v1/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/lanekeeper-system/leases/lanekeeper";
const WEBHOOKS: [&str; 2] = [
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/lanekeeper",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/lanekeeper",
];

fn required(networks: &[&str]) -> Value {
    let ours = |name: &&str| json!({ "key": format!("network.harvesterhci.io/{name}"), "operator": "In", "values": ["true"] });
    let expressions: Vec<Value> = networks.iter().map(ours).collect();
    let terms = json!({ "nodeSelectorTerms": [{ "matchExpressions": expressions }] });
    json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } })
}

fn vm_path(name: &str) -> String {
    format!("/apis/kubevirt.io/v1/namespaces/default/virtualmachines/{name}")
}

fn vm(name: &str, affinity: &Value) -> (String, Value) {
    let metadata = json!({ "name": name, "namespace": "default", "resourceVersion": "1" });
    let spec = json!({ "template": { "spec": { "affinity": affinity } } });
    (vm_path(name), json!({ "metadata": metadata, "spec": spec }))
}

fn vmi(name: &str, phase: &str) -> (String, Value) {
    let metadata = json!({ "name": name, "namespace": "default", "resourceVersion": "1" });
    let spec = json!({ "domain": {}, "affinity": required(&["a"]) });
    let vmi = json!({ "metadata": metadata, "spec": spec, "status": { "phase": phase } });
    (format!("/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/{name}"), vmi)
}

fn host_path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

/// A host whose label for cluster network `a` our manager set, and that for `b` another one.
fn host(name: &str) -> (String, Value) {
    let labels = |name: &str| json!({ "f:metadata": { "f:labels": { format!("f:network.harvesterhci.io/{name}"): {} } } });
    let metadata = json!({
        "name": name, "resourceVersion": "1",
        "labels": { "network.harvesterhci.io/a": "true", "network.harvesterhci.io/b": "true" },
        "managedFields": [
            { "manager": "lanekeeper", "fieldsV1": labels("a") },
            { "manager": "agent", "fieldsV1": labels("b") },
        ],
    });
    (host_path(name), json!({ "metadata": metadata }))
}

fn lease(holder: &str) -> (String, Value) {
    let spec = json!({
        "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00Z",
    });
    (LEASE.to_owned(), json!({ "metadata": { "resourceVersion": "1" }, "spec": spec }))
}

fn installed() -> Vec<(String, Value)> {
    let mut objects = vec![
        vm("vm0", &required(&["a", "b"])),
        vm("vm1", &json!(null)),
        vm("vm2", &required(&["b"])),
        vmi("vm0", "Running"),
        vmi("vm2", "Succeeded"),
        lease(""),
    ];
    objects.extend((0..5).map(|number| host(&format!("host{number}"))));
    objects.extend(WEBHOOKS.map(|path| (path.to_owned(), json!({ "metadata": {} }))));
    objects
}

async fn run(store: &Store, dry_run: bool) -> Result<Cleaned, Error> {
    run_with(store, dry_run, &mut |_| {}).await
}

async fn run_with(
    store: &Store,
    dry_run: bool,
    notice: &mut dyn FnMut(&str),
) -> Result<Cleaned, Error> {
    let cleanup = Cleanup {
        kubeconfig: None,
        namespace: "lanekeeper-system".to_owned(),
        dry_run,
        timeout: Duration::from_mins(2),
    };
    cleanup_of(&store.api(), &cleanup, Form::Table, notice).await
}

#[tokio::test(start_paused = true)]
async fn what_lanekeeper_put_in_is_taken_out_and_then_nothing_is_found() {
    let store = Store::new(installed());
    let listed = run(&store, true).await.unwrap();
    assert!(!listed.clean);
    for line in [
        "would delete ValidatingWebhookConfiguration lanekeeper",
        "would delete MutatingWebhookConfiguration lanekeeper",
        "would clean 2 VMs",
        "  default/vm0: node affinity for cluster network a, node affinity for cluster network b",
        "would clean 5 hosts",
        "  host4: label network.harvesterhci.io/a",
    ] {
        assert!(listed.text.lines().any(|it| it == line), "{line}: {}", listed.text);
    }
    assert_eq!(store.writes(), <[&str; 0]>::default(), "a dry run changes nothing");

    let cleaned = run(&store, false).await.unwrap();
    assert!(cleaned.clean, "{}", cleaned.text);
    assert!(cleaned.text.contains("cleaned 2 VMs\ncleaned 5 hosts\n"), "{}", cleaned.text);
    let kept = "VMIs that keep the affinity, which nobody may change in a VMI: default/vm0. ";
    assert!(cleaned.text.contains(kept), "{}", cleaned.text);
    let writes = store.writes();
    assert_eq!(writes[..2], WEBHOOKS.map(|path| format!("DELETE {path}")), "the webhooks first");
    assert!(writes[2..4].iter().all(|it| it.contains("virtualmachines")), "then VMs: {writes:?}");
    assert_eq!(writes.len(), 2 + 2 + 5);
    let affinity = &store.get(&vm_path("vm0"))["spec"]["template"]["spec"]["affinity"];
    assert_eq!(*affinity, json!({ "nodeAffinity": {} }));
    let labels = &store.get(&host_path("host3"))["metadata"]["labels"];
    assert_eq!(*labels, json!({ "network.harvesterhci.io/b": "true" }));

    let again = run(&store, false).await.unwrap();
    assert!(again.clean);
    assert_eq!(store.writes(), <[&str; 0]>::default());
    assert!(run(&store, true).await.unwrap().clean);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_kubevirt_and_without_a_lease_is_cleaned() {
    let store = Store::new([host("host0")]);
    let cleaned = run(&store, false).await.unwrap();
    assert!(cleaned.clean && cleaned.text.contains("cleaned 1 host\n"), "{}", cleaned.text);
}

#[tokio::test(start_paused = true)]
async fn an_edit_in_between_is_not_overwritten() {
    let mut edits = 3;
    let store = Store::with(installed(), move |method, path, objects| {
        if method == Method::PATCH && path == vm_path("vm0") && edits > 0 {
            edits -= 1;
            let vm = objects.get_mut(path).unwrap();
            let terms = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
            let zone = json!({ "key": "zone", "operator": "In", "values": ["1"] });
            let term = &mut vm.pointer_mut(terms).unwrap()[0]["matchExpressions"];
            term.as_array_mut().unwrap().insert(0, zone);
            vm["metadata"]["resourceVersion"] = json!((100 + edits).to_string());
        }
        None
    });
    let cleaned = run(&store, false).await.unwrap();
    assert!(cleaned.clean, "{}", cleaned.text);
    let affinity = &store.get(&vm_path("vm0"))["spec"]["template"]["spec"]["affinity"];
    let left = affinity.to_string();
    assert_eq!(left.matches("zone").count(), 3, "{left}");
    assert!(!left.contains("network.harvesterhci.io"), "{left}");
}

#[tokio::test(start_paused = true)]
async fn what_a_webhook_puts_back_for_a_while_is_taken_out_again() {
    let started = tokio::time::Instant::now();
    let store = Store::with(installed(), move |method, path, objects| {
        let is_called = started.elapsed() < Duration::from_secs(2);
        if method == Method::PATCH && path == vm_path("vm2") && is_called {
            return Some((200, objects[path].clone()));
        }
        None
    });
    assert!(run(&store, false).await.unwrap().clean);

    let store = Store::with(installed(), |method, path, objects| {
        (method == Method::PATCH && path == vm_path("vm2")).then(|| (200, objects[path].clone()))
    });
    let cleaned = run(&store, false).await.unwrap();
    assert!(!cleaned.clean);
    let says = "error: VirtualMachine default/vm2: node affinity for cluster network b comes back";
    assert!(cleaned.text.contains(says), "{}", cleaned.text);
}

#[tokio::test(start_paused = true)]
async fn while_a_vm_could_not_be_cleaned_hosts_keep_their_labels() {
    let store = Store::with(installed(), |method, path, _| {
        (method == Method::PATCH && path == vm_path("vm0"))
            .then(|| (422, json!({ "message": "spec.template is immutable" })))
    });
    let cleaned = run(&store, false).await.unwrap();
    assert!(!cleaned.clean);
    assert!(cleaned.text.contains("VirtualMachine default/vm0: invalid request: spec.template"));
    assert!(cleaned.text.contains("the labels of hosts stay"), "{}", cleaned.text);
    assert!(cleaned.text.contains("cleaned 1 VM\n"), "the other VM is cleaned: {}", cleaned.text);
    assert_eq!(store.get(&host_path("host0")), host("host0").1);
}

#[tokio::test]
async fn a_lease_in_another_namespace_ends_cleanup_before_anything_is_done() {
    let elsewhere = "/apis/coordination.k8s.io/v1/namespaces/net/leases/lanekeeper";
    let mut objects = installed();
    objects.retain(|(path, _)| path != LEASE);
    let list = json!({ "items": [{ "metadata": { "name": "lanekeeper", "namespace": "net" } }] });
    let store = Store::new(
        [&objects[..], &[(LEASES.to_owned(), list), (elsewhere.to_owned(), lease("one").1)]]
            .concat(),
    );
    for dry_run in [true, false] {
        let error = run(&store, dry_run).await.err().unwrap().to_string();
        assert!(error.contains("run cleanup with --namespace net; nothing was done"), "{error}");
    }
    assert_eq!(store.writes(), [""; 0]);
    // After the namespace is gone, what is left in the cluster can still be cleaned.
    let store = Store::new(objects);
    assert!(run(&store, false).await.unwrap().clean);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stays_ends_cleanup_and_a_dead_one_does_not() {
    let deployment = "/apis/apps/v1/namespaces/lanekeeper-system/deployments/lanekeeper";
    let mut objects = installed();
    objects.extend([lease("one"), (deployment.to_owned(), json!({}))]);
    // It renews the Lease whenever we look.
    let mut renewals = 0;
    let store = Store::with(objects.clone(), move |_, path, objects| {
        if path == LEASE {
            renewals += 1;
            objects.get_mut(path).unwrap()["spec"]["renewTime"] = json!(renewals.to_string());
        }
        None
    });
    let started = tokio::time::Instant::now();
    let mut notices = Vec::new();
    let ended = run_with(&store, false, &mut |text| notices.push(text.to_owned())).await;
    let error = ended.err().unwrap().to_string();
    let type_this = "kubectl -n lanekeeper-system scale deployment lanekeeper --replicas 0";
    assert!(error.contains("one still holds the Lease") && error.contains(type_this), "{error}");
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains(type_this), "{notices:?}");
    assert_eq!(started.elapsed().as_secs(), 120);
    assert_eq!(store.writes().len(), 2, "only the webhook configurations were deleted");
    let listed = run(&store, true).await.unwrap();
    assert!(listed.text.contains("would wait until one no longer holds the Lease"));

    // Nobody renews it any more.
    let store = Store::new(objects);
    let started = tokio::time::Instant::now();
    assert!(run(&store, false).await.unwrap().clean);
    let waited = started.elapsed().as_secs();
    assert!((15..17).contains(&waited), "{waited}");
    // A shorter time was written by hand: the other replicas wait as long too.
    let (path, mut short) = lease("one");
    short["spec"]["leaseDurationSeconds"] = json!(1);
    store.put(&path, short);
    let started = tokio::time::Instant::now();
    assert!(run(&store, false).await.unwrap().clean);
    let waited = started.elapsed().as_secs();
    assert!((15..17).contains(&waited), "{waited}");
}
