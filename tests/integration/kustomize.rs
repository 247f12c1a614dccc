//! The kustomize tree in `manifests/`: it says what `lanekeeper manifests` prints.
//! `tests/live/kustomize.rs` builds it with a real kustomize.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::project;
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
