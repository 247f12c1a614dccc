//! The kustomize tree in `manifests/`, built by the kustomize in kubectl: it says what
//! `lanekeeper manifests` prints.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{program, project};
use crate::objects::documents;

fn printed(arguments: &[&str]) -> Vec<Value> {
    let printed =
        Command::new(env!("CARGO_BIN_EXE_lanekeeper")).arg("manifests").args(arguments).output();
    documents(&String::from_utf8(printed.unwrap().stdout).unwrap())
}

/// Makes whole numbers of one form: Go writes 1.0 as 1.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|it| it.fract() == 0.0);
            if let Some(whole) = whole.and_then(|it| format!("{it}").parse::<i64>().ok()) {
                *value = json!(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// Documents by what they are.
fn by_name(documents: Vec<Value>) -> BTreeMap<String, Value> {
    let named = documents.into_iter().map(|mut document| {
        whole_numbers(&mut document);
        let metadata = &document["metadata"];
        (format!("{} {} {}", document["kind"], metadata["namespace"], metadata["name"]), document)
    });
    named.collect()
}

pub async fn a_real_kustomize_builds_what_is_printed() {
    let target = project().join("target/kustomize");
    fs::create_dir_all(&target).unwrap();
    let folder = tempfile::tempdir_in(target).unwrap();
    for overlay in ["kubevirt", "harvester"] {
        for certificate in ["secret", "cert-manager"] {
            let mut text = format!("resources:\n- ../../../manifests/overlays/{overlay}\n");
            if certificate == "cert-manager" {
                text.push_str("components:\n- ../../../manifests/components/cert-manager\n");
            }
            fs::write(folder.path().join("kustomization.yaml"), text).unwrap();
            let built = Command::new(program())
                .args(["kubectl", "kustomize"])
                .arg(folder.path())
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&built.stderr);
            assert!(built.status.success(), "{overlay}, {certificate}: {errors}");
            let built = by_name(documents(&String::from_utf8(built.stdout).unwrap()));
            let printed = by_name(printed(&["--overlay", overlay, "--certificate", certificate]));
            let names = |of: &BTreeMap<String, Value>| of.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&built), names(&printed), "{overlay}, {certificate}");
            for (name, document) in &printed {
                let built = serde_json::to_string_pretty(&built[name]).unwrap();
                let printed = serde_json::to_string_pretty(document).unwrap();
                assert_eq!(built, printed, "{overlay}, {certificate}: {name}");
            }
        }
    }
}
