//! The house's own rules, as tests: layers, orphans, lengths, and that every code is documented.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lanekeeper::decide::causes;
use lanekeeper::decide::review::Code;

use serde_json::Value;

use crate::harness::{Server, project};

/// Which of our modules a module may use, by the table in ARCHITECTURE.md.
fn layers() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("\n## Layers\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| {
        let [module, may] = row.trim_matches('|').split('|').collect::<Vec<_>>()[..] else {
            panic!("not a row of two: {row}");
        };
        let may = may.split(',').map(|it| it.trim().to_owned()).filter(|it| it != "nothing");
        (module.trim().to_owned(), may.collect())
    })
    .collect()
}

/// What the pure layers may use of others' crates.
const PURE_CRATES: [&str; 8] =
    ["std", "fixedbitset", "foldhash", "hashbrown", "imbl", "super", "crate", "self"];
/// And what of the standard library they may not: files, clocks, environment, network, tasks.
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::env",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
    "std::os",
];

/// The source files, with their text.
fn sources() -> BTreeMap<PathBuf, String> {
    fn collect(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(project()).unwrap().to_owned(), text);
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(&project().join("src"), &mut found);
    assert!(found.len() > 30, "the sources are found");
    found
}

/// The top module that a source file belongs to.
fn module(path: &Path) -> String {
    let name = path.components().nth(1).unwrap().as_os_str().to_string_lossy().into_owned();
    name.trim_end_matches(".rs").to_owned()
}

/// The code of a file, its comments and its tests apart.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The words right behind every `prefix` in a text.
fn words_after<'t>(text: &'t str, prefix: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(prefix).map(move |(at, _)| {
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn modules_use_only_the_layers_below_them() {
    let layers = layers();
    assert!(layers.len() > 10 && layers["cluster"].is_empty(), "the table is found");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, text) in sources() {
        let module = module(&path);
        if module == "lib" {
            continue;
        }
        let may = layers.get(&module).unwrap_or_else(|| panic!("{module} is in no layer"));
        for used in words_after(&code(&text), "crate::") {
            seen.insert(module.clone());
            if used != module && !may.iter().any(|it| it == used) {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.len() > 8, "uses are found");
}

#[test]
fn the_pure_layers_know_no_formats_files_clocks_or_tasks() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !["cluster", "decide"].contains(&&*module(&path)) {
            continue;
        }
        let code = code(&text);
        for used in words_after(&code, "\nuse ") {
            if !PURE_CRATES.contains(&used) {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
        let impure = IMPURE.iter().filter(|name| code.contains(**name));
        wrong.extend(impure.map(|name| format!("{} uses {name}", path.display())));
        if code.contains("async ") {
            wrong.push(format!("{} is asynchronous", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a file of modules names this one.
fn names(text: &str, module: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        line == format!("mod {module};")
    })
}

#[test]
fn no_file_is_an_orphan() {
    let sources = sources();
    for path in sources.keys() {
        let stem = path.file_stem().unwrap().to_string_lossy();
        let folder = path.parent().unwrap();
        let is_root = path == Path::new("src/lib.rs") || path == Path::new("src/main.rs");
        if is_root {
            continue;
        }
        let (parent, module) = if stem == "mod" {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            (folder.parent().unwrap(), name)
        } else {
            (folder, stem.into_owned())
        };
        let parents = ["mod.rs", "lib.rs"].map(|name| parent.join(name));
        let mut texts = parents.iter().filter_map(|it| sources.get(it));
        assert!(texts.any(|text| names(text, &module)), "no mod names {}", path.display());
    }
    let tests = project().join("tests/integration");
    let main = fs::read_to_string(tests.join("main.rs")).unwrap();
    for entry in fs::read_dir(&tests).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || names(&main, module), "no mod names {name}");
    }
}

#[test]
fn no_source_file_has_a_second_duty() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not say its duty", path.display());
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
    }
}

#[test]
fn every_code_has_an_entry_and_every_entry_a_code() {
    let rules = fs::read_to_string(project().join("docs/rules.md")).unwrap();
    let mut entries = BTreeSet::new();
    for section in rules.split("\n### `").skip(1) {
        let (code, text) = section.split_once("`\n").unwrap();
        for part in ["**Means:**", "**Example:**", "**What to do:**"] {
            assert!(text.contains(part), "{code} lacks {part}");
        }
        assert!(entries.insert(code.to_owned()), "{code} is there twice");
    }
    let codes: BTreeSet<String> = causes::CODES
        .iter()
        .copied()
        .chain(Code::ALL.iter().map(|code| code.as_str()))
        .map(str::to_owned)
        .collect();
    assert_eq!(entries, codes);
}

#[tokio::test]
async fn the_schedulers_configuration_names_routes_that_there_are() {
    let text = fs::read_to_string(project().join("manifests/kube-scheduler/config.yaml")).unwrap();
    let configuration: Value = serde_saphyr::from_str(&text).unwrap();
    let extender = &configuration["extenders"][0];
    let prefix = extender["urlPrefix"].as_str().unwrap();
    let path = prefix.strip_prefix("https://localhost:8443").unwrap();
    let server = Server::new(None);
    for verb in ["filterVerb", "prioritizeVerb", "preemptVerb"] {
        let verb = extender[verb].as_str().unwrap();
        let answer = server.post(&format!("{path}/{verb}"), "").await;
        assert_eq!(answer.status, 400, "{verb}: a body is missing, and not the route");
    }
    assert_eq!(server.post(&format!("{path}/other"), "").await.status, 404);
}

#[test]
fn ci_runs_what_the_readme_says() {
    let ci = fs::read_to_string(project().join(".ci/run")).unwrap();
    assert!(ci.lines().any(|line| line.trim().ends_with("cargo test")), "{ci}");
}
