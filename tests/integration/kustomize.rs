//! The kustomize tree in `manifests/`: it says what `lanekeeper manifests` prints.
//!
//! `tests/kustomize/check` runs this with a real kustomize, which `KUSTOMIZE` names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{documents, project};
use crate::installation::printed;

/// Compares a file, or writes it.
fn expect(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, text).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), text, "{}", path.display());
}

fn kustomization(resources: &[String]) -> String {
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
    });
    serde_saphyr::to_string(&kustomization).unwrap()
}

/// The files of a folder, sorted.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<String> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    files
}

fn is_definition(document: &Value) -> bool {
    document["kind"] == "CustomResourceDefinition"
}

#[test]
fn the_files_are_what_is_printed() {
    let base = project().join("manifests/base");
    let mut resources = Vec::new();
    for document in printed(&[]).iter().filter(|document| !is_definition(document)) {
        let file = format!("{}.yaml", document["kind"].as_str().unwrap().to_lowercase());
        expect(&base.join(&file), &serde_saphyr::to_string(document).unwrap());
        resources.push(file);
    }
    expect(&base.join("kustomization.yaml"), &kustomization(&resources));
    resources.push("kustomization.yaml".to_owned());
    resources.sort();
    assert_eq!(files(&base), resources);

    let crds = project().join("manifests/crds");
    let mut definitions = files(&crds);
    definitions.retain(|file| file != "kustomization.yaml");
    expect(&crds.join("kustomization.yaml"), &kustomization(&definitions));

    let certificates = printed(&["--certificate", "cert-manager"]);
    let own = certificates.iter().filter(|it| it["apiVersion"] == "cert-manager.io/v1");
    let texts = own.map(|document| serde_saphyr::to_string(document).unwrap());
    let text: String = texts.flat_map(|text| ["---\n".to_owned(), text]).collect();
    expect(&project().join("manifests/components/cert-manager/certificates.yaml"), &text);
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

#[test]
fn a_real_kustomize_builds_what_is_printed() {
    let Some(kustomize) = std::env::var_os("KUSTOMIZE") else { return };
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
            let built = Command::new(&kustomize).arg("build").arg(folder.path()).output().unwrap();
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
