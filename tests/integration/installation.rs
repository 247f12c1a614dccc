//! `lanekeeper manifests`: what an installation applies (docs/reference.md, "While Lanekeeper is
//! unavailable").

use std::fs;
use std::process::Command;

use lanekeeper::cluster::Kind;
use serde_json::{Value, json};

use crate::harness::documents;
use crate::serve::program;

fn printed(more: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    fs::write(&ca, "a CA").unwrap();
    let output = Command::new(program())
        .args(["manifests", "--url", "https://lanekeeper.example.com:8443", "--ca-file"])
        .arg(ca)
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success());
    documents(&String::from_utf8(output.stdout).unwrap())
}

fn only<'d>(documents: &'d [Value], kind: &str) -> &'d Value {
    let mut of_kind = documents.iter().filter(|it| it["kind"] == kind);
    let found = of_kind.next().unwrap();
    assert!(of_kind.next().is_none(), "one {kind}");
    found
}

/// The condition of the validating webhook for a kind.
fn condition(documents: &[Value], kind: Kind) -> String {
    let webhooks = &only(documents, "ValidatingWebhookConfiguration")["webhooks"];
    let is_of = |it: &&Value| it["rules"][0]["resources"] == json!([kind.plural()]);
    let webhook = webhooks.as_array().unwrap().iter().find(is_of).unwrap();
    webhook["matchConditions"][0]["expression"].as_str().unwrap().to_owned()
}

#[test]
fn our_webhooks_come_after_harvesters_and_again_if_another_changes_the_object() {
    let documents = printed(&[]);
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        let name = only(&documents, kind)["metadata"]["name"].as_str().unwrap();
        assert!(name > "harvester-~", "{kind} {name}");
    }
    let mutating = only(&documents, "MutatingWebhookConfiguration")["webhooks"].as_array().unwrap();
    assert!(mutating.iter().all(|it| it["reinvocationPolicy"] == "IfNeeded"), "{mutating:?}");
    let validating = &only(&documents, "ValidatingWebhookConfiguration")["webhooks"];
    assert!(!validating.to_string().contains("reinvocationPolicy"), "it has no such field");
}

#[test]
fn harvester_and_its_network_controller_are_trusted_unless_others_are_named() {
    let agents = "['system:serviceaccount:harvester-system:harvester-network-controller', \
                  'system:serviceaccount:harvester-system:harvester']";
    let by_default = condition(&printed(&[]), Kind::NetworkConfig);
    assert!(by_default.contains(agents), "{by_default}");
    let named =
        condition(&printed(&["--trusted-user", "a", "--trusted-user", "b"]), Kind::NetworkConfig);
    assert!(named.contains("in ['a', 'b'])"), "{named}");
}

#[test]
fn a_start_of_a_vm_is_sent_in_either_form() {
    let condition = condition(&printed(&[]), Kind::Vm);
    for field in ["?networks", "?interfaces", "?runStrategy", "?running"] {
        assert!(condition.contains(&format!("{field} != oldObject.")), "{field}: {condition}");
    }
}

#[test]
fn every_kind_may_be_listed_and_watched_and_no_other() {
    let documents = printed(&[]);
    let rules = only(&documents, "ClusterRole")["rules"].as_array().unwrap();
    let resources: Vec<_> =
        rules.iter().map(|rule| rule["resources"][0].as_str().unwrap()).collect();
    assert_eq!(resources, Kind::ALL.map(Kind::plural));
    for rule in rules {
        let verbs: Vec<_> =
            rule["verbs"].as_array().unwrap().iter().filter(|it| *it != "get").collect();
        assert_eq!(verbs, ["list", "watch"], "{rule}");
    }
}
