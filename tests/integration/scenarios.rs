//! The rules of admission as text: see `tests/scenarios/README.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use lanekeeper::cluster;
use lanekeeper::decide::review::{self, Code, Scope};
use lanekeeper::k8s::admission;
use lanekeeper::k8s::objects::Reader;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{Server, project, snapshot_with};

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
            let request = admission::request(body.as_bytes()).unwrap();
            let change =
                request.change(request.kind().unwrap(), &Reader::default(), |_| None).unwrap();
            let scope = change.map(|change| review::scope(&snapshot, &change)).unwrap_or_default();
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
            let Scope { running_vms_on, users_of, users_of_vm_network, unknown, configs_of } =
                scope;
            for (what, afresh) in [
                ("VMs on", running_vms_on),
                ("users of", users_of.into_iter().collect()),
                (
                    "users of VM network",
                    users_of_vm_network.iter().map(|it| it.text().clone()).collect(),
                ),
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
