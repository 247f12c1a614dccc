//! The house's own rules, as tests: layers, orphans, lengths, and that every code is documented.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lanekeeper::decide::review::Code;
use lanekeeper::decide::{causes, check};

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
const PURE_CRATES: [&str; 10] = [
    "std",
    "arcstr",
    "fixedbitset",
    "foldhash",
    "hashbrown",
    "imbl",
    "uuid",
    "super",
    "crate",
    "self",
];
/// And what of the standard library they may not: files, clocks, environment, network, tasks.
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::env",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    // A duration is an argument; a clock is not.
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
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
    text.match_indices(prefix).map(move |(at, _)| word(&text[at + prefix.len()..]))
}

/// The word that a text begins with, empty if it begins with none.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Every path in a text that begins with `root`, without that; `root::{a, b::{c, d}}` is three.
fn paths(text: &str, root: &str) -> Vec<Vec<String>> {
    let root = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in text.match_indices(&root) {
        let before = text[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            expand(&text[at + root.len()..], &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads a path, or a list of paths in braces, behind what is read of it. Returns the rest.
fn expand<'t>(text: &'t str, so_far: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut list) = text.strip_prefix('{') {
        loop {
            list = list.trim_start().trim_start_matches(',').trim_start();
            if let Some(rest) = list.strip_prefix('}') {
                return rest;
            }
            let before = list.len();
            list = expand(list, so_far, found);
            assert!(list.len() < before, "not a list of paths: {text:.80}");
        }
    }
    let name = word(text);
    let mut rest = &text[name.len()..];
    so_far.push(name.to_owned());
    match rest.strip_prefix("::") {
        Some(more) if more.starts_with(['{', '*']) || !word(more).is_empty() => {
            rest = expand(more.trim_start_matches('*'), so_far, found);
        }
        _ => found.push(so_far.clone()),
    }
    so_far.pop();
    // `a as b`
    match rest.trim_start().strip_prefix("as ") {
        Some(alias) => &alias[word(alias).len()..],
        None => rest,
    }
}

#[test]
fn paths_in_braces_are_taken_apart() {
    let text = "use crate::{a, b::{c, self as d}, e::*};\nlet x = crate::f::g(mycrate::h);";
    let found: Vec<_> = paths(text, "crate").iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["a", "b::c", "b::self", "e::", "f::g"]);
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
        for used in paths(&code(&text), "crate") {
            seen.insert(module.clone());
            let used = &used[0];
            if *used != module && !may.contains(used) {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.len() > 8, "uses are found");
}

/// The parts of a folder of modules: its files and folders by name, `mod` for its `mod.rs`.
fn parts(folder: &Path, sources: &BTreeMap<PathBuf, String>) -> BTreeMap<String, Vec<PathBuf>> {
    let mut parts: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in sources.keys() {
        let Ok(inner) = path.strip_prefix(folder) else { continue };
        let first = inner.components().next().unwrap().as_os_str().to_string_lossy();
        parts.entry(first.trim_end_matches(".rs").to_owned()).or_default().push(path.clone());
    }
    parts
}

/// Which parts of a folder each part uses, by the paths in it.
fn uses(folder: &Path, sources: &BTreeMap<PathBuf, String>) -> BTreeMap<String, BTreeSet<String>> {
    let parts = parts(folder, sources);
    let from_root: Vec<String> =
        folder.components().skip(1).map(|it| it.as_os_str().to_string_lossy().into()).collect();
    let head = sources.get(&folder.join("mod.rs")).map(|text| code(text)).unwrap_or_default();
    // What `mod.rs` only passes on lies in another part.
    let passed_on: BTreeMap<String, String> = parts
        .keys()
        .flat_map(|part| {
            let names = paths(&head, part).into_iter().filter_map(|path| path.last().cloned());
            names.map(|name| (name, part.clone())).collect::<Vec<_>>()
        })
        .collect();
    let part_of = |path: &[String]| {
        // What lies further up is no part of this folder.
        let first = path.first().filter(|first| *first != "super")?;
        let part = parts.contains_key(first).then(|| first.clone());
        part.or_else(|| passed_on.get(first).cloned()).or_else(|| Some("mod".to_owned()))
    };
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (part, files) in &parts {
        let used = all.entry(part.clone()).or_default();
        for file in files {
            let text = code(&sources[file]);
            let absolute = paths(&text, "crate").into_iter();
            used.extend(
                absolute
                    .filter_map(|path| part_of(path.strip_prefix(&*from_root)?))
                    .collect::<Vec<_>>(),
            );
            if part == "mod" {
                let own = text.lines().filter(|line| !line.trim_start().starts_with("pub use "));
                let own = own.collect::<Vec<_>>().join("\n");
                let below = parts.keys().filter(|below| !paths(&own, below).is_empty());
                used.extend(below.cloned());
            } else if file.parent() == Some(folder) {
                used.extend(paths(&text, "super").iter().filter_map(|path| part_of(path)));
            } else {
                let above = paths(&text, "super::super");
                used.extend(above.iter().filter_map(|path| part_of(path)));
            }
        }
        used.remove(part);
    }
    all
}

/// A way from a part back to it, if there is one.
fn circle(uses: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        uses: &BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        let at = way.last().unwrap().clone();
        for next in &uses[&at] {
            if let Some(start) = way.iter().position(|it| it == next) {
                return Some(way[start..].to_vec());
            }
            if done.insert(next.clone()) {
                way.push(next.clone());
                if let Some(found) = walk(uses, way, done) {
                    return Some(found);
                }
                way.pop();
            }
        }
        None
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|part| walk(uses, &mut vec![part.clone()], &mut done))
}

#[test]
fn no_files_of_a_module_use_each_other_in_a_circle() {
    let sources = sources();
    let folders: BTreeSet<PathBuf> =
        sources.keys().map(|path| path.parent().unwrap().to_owned()).collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for folder in folders.iter().filter(|folder| *folder != Path::new("src")) {
        let uses = uses(folder, &sources);
        seen += uses.values().map(BTreeSet::len).sum::<usize>();
        if let Some(way) = circle(&uses) {
            wrong.push(format!("{}: {}", folder.display(), way.join(" → ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 50, "uses are found: {seen}");
    let circular = |pairs: &[(&str, &str)]| {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            uses.entry((*to).to_owned()).or_default();
            uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        circle(&uses).is_some()
    };
    assert!(circular(&[("a", "b"), ("b", "c"), ("c", "a")]));
    assert!(!circular(&[("a", "b"), ("b", "c"), ("a", "c")]));
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
        .chain(check::Code::OWN.iter().map(|code| code.as_str()))
        .map(str::to_owned)
        .collect();
    assert_eq!(entries, codes);
}

#[tokio::test]
async fn the_schedulers_configuration_names_routes_that_there_are() {
    let text = fs::read_to_string(project().join("manifests/kube-scheduler/config.yaml")).unwrap();
    // With what it says to add.
    let text =
        text.replace("# prioritizeVerb: ", "prioritizeVerb: ").replace("# weight: ", "weight: ");
    let configuration: Value = serde_saphyr::from_str(&text).unwrap();
    let extender = &configuration["extenders"][0];
    assert_eq!(extender["weight"], 1, "or the scheduler refuses the verb");
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
    assert!(ci.lines().any(|line| line.trim().ends_with("cargo test --locked")), "{ci}");
}
