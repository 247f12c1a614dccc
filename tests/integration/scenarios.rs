//! The rules of admission as text: see `tests/scenarios/README.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use lanekeeper::cluster::{self, Key, Snapshot};
use lanekeeper::commands::plan::plan;
use lanekeeper::decide::review::{self, Code, Policy, Scope, Webhook};
use lanekeeper::k8s::Decoder;
use lanekeeper::k8s::admission::parse;
use lanekeeper::source::{Manifests, Once};
use lanekeeper::view::Form;
use lanekeeper::view::plan::Mode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{Server, policy, project, snapshot_with};

#[derive(Deserialize)]
struct Scenario {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    given: Vec<Value>,
    /// `VlanConfig` unless given; objects of other kinds are written whole, but for these two.
    #[serde(default)]
    kind: Option<String>,
    /// Whether VMs that no host can run are refused.
    #[serde(default)]
    deny: bool,
    /// Whether a bridge under no cluster network is refused.
    #[serde(default)]
    strict: bool,
    old: Option<Value>,
    new: Option<Value>,
    expect: Vec<String>,
}

/// A network config, from its short form.
fn config(short: &Value) -> Value {
    let known = [
        "name",
        "network",
        "on",
        "nics",
        "mtu",
        "bond",
        "link",
        "label",
        "description",
        "deleting",
        "matched",
    ];
    for key in short.as_object().unwrap().keys() {
        assert!(known.contains(&&**key), "{key} is not of the short form");
    }
    let mut link = short.get("link").cloned().unwrap_or_else(|| json!({}));
    if let Some(mtu) = short.get("mtu") {
        link["mtu"] = mtu.clone();
    }
    let label = short.get("label").unwrap_or(&short["network"]);
    let mut config = json!({
        "apiVersion": "network.harvesterhci.io/v1beta1",
        "kind": "VlanConfig",
        "metadata": { "name": short["name"] },
        "spec": {
            "clusterNetwork": short["network"],
            "description": short.get("description"),
            "nodeSelector": short.get("on"),
            "uplink": {
                "nics": short.get("nics"),
                "bondOptions": short.get("bond"),
                "linkAttributes": link,
            },
        },
    });
    if !label.is_null() {
        config["metadata"]["labels"] = json!({ "network.harvesterhci.io/clusternetwork": label });
    }
    if let Some(matched) = short.get("matched") {
        config["metadata"]["annotations"] =
            json!({ "network.harvesterhci.io/matched-nodes": matched });
    }
    if short.get("deleting").is_some() {
        config["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    config
}

/// The kind of a case's object, with its API group and version.
fn kind(case: &Case) -> (&str, &'static str, &'static str) {
    match case.kind.as_deref().unwrap_or("VlanConfig") {
        kind @ ("VlanConfig" | "ClusterNetwork") => (kind, "network.harvesterhci.io", "v1beta1"),
        kind @ "NetworkAttachmentDefinition" => (kind, "k8s.cni.cncf.io", "v1"),
        kind @ "VirtualMachine" => (kind, "kubevirt.io", "v1"),
        kind @ "Node" => (kind, "", "v1"),
        other => panic!("{}: no rules for {other}", case.name),
    }
}

fn review(case: &Case) -> String {
    let operation = match (&case.old, &case.new) {
        (None, Some(_)) => "CREATE",
        (Some(_), Some(_)) => "UPDATE",
        (Some(_), None) => "DELETE",
        (None, None) => panic!("{}: neither old nor new", case.name),
    };
    let (kind, group, version) = kind(case);
    let whole = |object: &Value| if kind == "VlanConfig" { config(object) } else { object.clone() };
    let (old, new) = (case.old.as_ref().map(whole), case.new.as_ref().map(whole));
    let either = new.as_ref().or(old.as_ref()).unwrap();
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "kind": { "group": group, "version": version, "kind": kind },
            "name": either["metadata"]["name"],
            "namespace": either["metadata"].get("namespace"),
            "operation": operation,
            "userInfo": { "username": case.user.as_deref().unwrap_or("admin") },
            "object": new,
            "oldObject": old,
        },
    })
    .to_string()
}

/// The codes that refuse a review, empty if it is admitted.
async fn codes(server: &Server, body: String) -> Vec<String> {
    let answer = server.post("/validate", body).await.json();
    let causes = answer["response"]["status"]["details"]["causes"].as_array().cloned();
    let code = |cause: &Value| cause["reason"].as_str().unwrap().to_owned();
    causes.unwrap_or_default().iter().map(code).collect()
}

/// Checks that `plan` refuses a case for the same codes as the two webhooks one after the other:
/// what the mutating one sets right, neither complains about.
async fn check_plan(
    at: &str,
    case: &Case,
    snapshot: &Snapshot,
    given: &str,
    wrong: &mut Vec<String>,
) {
    let body: Value = serde_json::from_str(&review(case)).unwrap();
    let (old, new) = (&body["request"]["oldObject"], &body["request"]["object"]);
    let whole = |object: &Value| {
        let mut object = object.clone();
        let (kind, group, version) = kind(case);
        let slash = if group.is_empty() { "" } else { "/" };
        object["apiVersion"] = json!(format!("{group}{slash}{version}"));
        object["kind"] = json!(kind);
        object
    };
    // The API server's objects hold the old version, whatever else is given.
    let change = |object: &Value| Decoder::default().change(&whole(object)).unwrap().unwrap();
    let snapshot = match old {
        Value::Null => snapshot.clone(),
        old => snapshot.with([change(old)]),
    };
    let policy = Policy { deny_unschedulable: case.deny, ..policy() };
    let server = Server::judging(snapshot.clone(), policy.clone());
    let mut mutated = body.clone();
    if !new.is_null() {
        let answer = server.post("/mutate", body.to_string()).await.json();
        if let Some(patch) = answer["response"]["patch"].as_str() {
            let patch = STANDARD.decode(patch).unwrap();
            let patch: Patch = serde_json::from_slice(&patch).unwrap();
            json_patch::patch(&mut mutated["request"]["object"], &patch).unwrap();
        }
    }
    let by_webhooks = codes(&server, mutated.to_string()).await;

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let mut cluster = given.to_owned();
    if !old.is_null() {
        write!(cluster, "\n---\n{}", whole(old)).unwrap();
    }
    let cluster = write("cluster.yaml", cluster);
    let file = write("change.json", whole(if new.is_null() { old } else { new }).to_string());
    let source = Manifests::new(cluster, Decoder::default(), snapshot.options());
    // In a cluster the user of `plan` is whoever runs it; a trusted one is trusted here too.
    let trusted = case.user.as_deref() == Some("agent");
    let trusted_users = if trusted { vec![String::new()] } else { Vec::new() };
    let mode =
        Mode { delete: new.is_null(), in_order: true, policy: Policy { trusted_users, ..policy } };
    let source = Once::manifests(source);
    let planned = plan(&file, source, &mode, Form::Json).unwrap();
    let planned: Value = serde_json::from_str(&planned.text).unwrap();
    let violations = planned["objects"][0]["violations"].as_array().unwrap();
    let by_plan: Vec<_> = violations.iter().map(|it| it["code"].as_str().unwrap()).collect();
    if by_plan != by_webhooks {
        wrong.push(format!(
            "{at}: {}: plan says {by_plan:?}, the webhooks {by_webhooks:?}",
            case.name
        ));
    }
}

#[tokio::test]
async fn every_scenario_ends_as_it_should() {
    let folder = project().join("tests/scenarios");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let base = fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    let (mut fired, mut passed) = (BTreeSet::new(), 0);
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    for path in files {
        if path.extension().is_none_or(|it| it != "yaml") || path.ends_with("cluster.yaml") {
            continue;
        }
        let at = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let scenario: Scenario =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{at}: {error}"));
        let mut told = String::new();
        for case in &scenario.cases {
            let given = case.given.iter().fold(base.clone(), |all, it| format!("{all}\n---\n{it}"));
            let options =
                cluster::Options { strict_vm_networks: case.strict, ..Default::default() };
            let snapshot = snapshot_with(&given, options);
            let body = review(case);
            let review = parse(&body, Webhook::Validate, &Decoder::default()).unwrap();
            let scope = review::scope(&snapshot, &review.question);
            check_plan(&at, case, &snapshot, &given, &mut wrong).await;
            let server =
                if case.deny { Server::denying(snapshot) } else { Server::new(Some(snapshot)) };
            let answer = server.post("/validate", body).await;
            assert_eq!(answer.status, 200, "{at}: {}: {}", case.name, answer.body);
            let response = &answer.json()["response"];
            let causes = response["status"]["details"]["causes"].as_array().cloned();
            let causes = causes.unwrap_or_default();
            let codes: Vec<_> =
                causes.iter().map(|it| it["reason"].as_str().unwrap().to_owned()).collect();
            if codes != case.expect {
                wrong.push(format!(
                    "{at}: {}: {codes:?} where {:?} was expected",
                    case.name, case.expect
                ));
            }
            assert_eq!(response["allowed"], json!(codes.is_empty()), "{at}: {}", case.name);
            fired.extend(codes);
            passed += usize::from(causes.is_empty());

            writeln!(told, "## {}", case.name).unwrap();
            match response["status"].as_object() {
                None => writeln!(told, "allowed").unwrap(),
                Some(status) => writeln!(
                    told,
                    "denied {} {}\n{}",
                    status["code"],
                    status["reason"].as_str().unwrap(),
                    status["message"].as_str().unwrap()
                )
                .unwrap(),
            }
            for cause in causes.iter().filter_map(|cause| cause["field"].as_str()) {
                writeln!(told, "field: {cause}").unwrap();
            }
            for warning in response["warnings"].as_array().into_iter().flatten() {
                writeln!(told, "warning: {}", warning.as_str().unwrap()).unwrap();
            }
            let Scope { running_vms_on, users_of, vmis_using, vms_using, unknown, configs_of } =
                scope;
            let name = |key: Option<Key>| key.map(|key| key.text().clone()).into_iter().collect();
            for (what, afresh) in [
                ("VMs on", running_vms_on),
                ("users of", users_of.into_iter().collect()),
                ("VMIs that use", name(vmis_using)),
                ("VMs that use", name(vms_using)),
                ("configs of", configs_of),
                ("unknown", unknown.iter().map(|it| it.to_string().into()).collect()),
            ] {
                if !afresh.is_empty() {
                    writeln!(told, "to read afresh: {what} {}", afresh.join(", ")).unwrap();
                }
            }
            told.push('\n');
        }
        let beside = path.with_extension("expected");
        if update {
            fs::write(&beside, &told).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if told != expected {
            wrong.push(format!("{at}: what was said differs from {}:\n{told}", beside.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut all: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    // Of what can't be read there is no short form; `admission.rs` has it.
    all.remove(Code::Unreadable.as_str());
    assert_eq!(fired, all, "each rule fires in some scenario");
    assert!(passed > 0);
}
