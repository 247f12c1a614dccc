//! Manifests on disk as the source of truth. Changes are followed (docs/reference.md, "Sources").
//!
//! ```text
//! files ─▶ settled? ─▶ read ─▶ what each file holds ─▶ one map of objects ─▶ difference ─▶ index
//! ```
//! A path that breaks or becomes empty keeps its last good content, if it had any, and an object
//! that becomes malformed keeps its last facts. Nothing is published until every file has been read without
//! error once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Change, Fact, Index, Kind, Name, Now, ObjectRef, Options, Snapshot};
use crate::k8s::Decoder;
use crate::publish::Publisher;

use super::files::{self, Found, Stamp};
use crate::k8s::documents::{self, Broken};

/// How often the files are polled. A change takes effect after two polls and the reading, and must
/// do so within a second.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// What stands for standard input in place of a file.
const STANDARD_INPUT: &str = "-";
/// The end of a problem about a file or directory that was readable before.
const STILL_COUNTS: &str = "its last good content still counts";

/// Why manifests can't be read: file by file, with the line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unreadable(pub Vec<String>);

/// Manifests under a directory, or in one file.
pub struct Manifests {
    root: PathBuf,
    decoder: Decoder,
    index: Index,
    files: BTreeMap<PathBuf, File>,
    /// What all files together hold.
    objects: BTreeMap<ObjectRef, Arc<Now>>,
    /// The paths that the last poll could not examine, and why.
    unreadable: BTreeMap<PathBuf, String>,
    /// The paths that the index has problems about.
    with_problems: BTreeSet<Name>,
    synced: bool,
}

/// What is known of one file.
#[derive(Default)]
struct File {
    /// The file's stamp when it was last read.
    read: Option<Stamp>,
    /// How the last poll found it.
    seen: Seen,
    /// The last good content.
    content: Option<Content>,
    /// Why the present content can't be read.
    broken: Option<Broken>,
}

/// How a poll found a file.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Never,
    Gone,
    Present(Stamp),
}

#[derive(Default)]
struct Content {
    changes: Vec<(ObjectRef, Arc<Now>)>,
    /// Problems about objects that are ignored because they have no key.
    nameless: Vec<String>,
    /// The number of objects, including those that no decision depends on.
    objects: usize,
}

impl Manifests {
    /// Manifests at `root`. Reads nothing yet.
    #[must_use]
    pub fn new(root: PathBuf, decoder: Decoder, options: Options) -> Self {
        Self {
            root,
            decoder,
            index: Index::new(options),
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            with_problems: BTreeSet::new(),
            synced: false,
        }
    }

    /// How objects are read.
    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Reads all files once.
    ///
    /// # Errors
    /// If a file can't be read. The error names every such file, with the line.
    pub fn read(&mut self) -> Result<Snapshot, Unreadable> {
        self.poll()?;
        self.index.snapshot().ok_or_else(|| Unreadable(Vec::new()))
    }

    /// Reads the whole objects of all files. If an object occurs twice, the later one counts.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn objects(&self) -> Result<BTreeMap<ObjectRef, Value>, Unreadable> {
        let mut all = BTreeMap::new();
        for path in files::find(&self.root).files.keys() {
            for object in objects_in(path)? {
                if let Ok(Some(change)) = self.decoder.change(&object) {
                    all.insert(change.object, object);
                }
            }
        }
        Ok(all)
    }

    /// Follows the files until the process ends, and publishes a snapshot after each change.
    pub async fn follow(mut self, publisher: Publisher) {
        let mut every = tokio::time::interval(POLL_INTERVAL);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reported = Vec::new();
        let mut known: BTreeSet<Name> = BTreeSet::new();
        loop {
            every.tick().await;
            let started = Instant::now();
            let polled = tokio::task::block_in_place(|| self.poll());
            match polled {
                Ok(false) => {}
                Ok(true) => {
                    if let Some(snapshot) = self.index.snapshot() {
                        let problems = snapshot.problems().into_iter().map(|it| it.message);
                        let problems: BTreeSet<Name> = problems.collect();
                        for problem in problems.difference(&known) {
                            tracing::warn!("{problem}");
                        }
                        let count = problems.len();
                        known = problems;
                        tracing::info!(root = %self.root.display(), problems = count, "manifests read");
                        publisher.publish(snapshot, started.elapsed());
                    }
                }
                Err(Unreadable(broken)) if broken == reported => {}
                Err(Unreadable(broken)) => {
                    for why in &broken {
                        tracing::error!("not ready: {why}");
                    }
                    publisher.waiting(broken.clone());
                    reported = broken;
                }
            }
        }
    }

    /// Polls the files and applies what changed. Returns whether anything changed.
    ///
    /// # Errors
    /// If a file can't be read, unless all files were read without error before.
    fn poll(&mut self) -> Result<bool, Unreadable> {
        let found = files::find(&self.root);
        let mut paths: BTreeSet<PathBuf> = found.files.keys().cloned().collect();
        paths.extend(self.files.keys().cloned());
        let mut dirty = false;
        for path in paths.into_iter().filter(|path| !found.hides(path)) {
            dirty |= self.poll_file(&path, found.files.get(&path).copied());
        }
        if !self.synced {
            self.check_all_read(&found)?;
            for kind in Kind::ALL {
                self.index.listed(kind);
            }
            self.synced = true;
            dirty = true;
        }
        if dirty {
            self.merge();
        }
        if dirty || found.unreadable != self.unreadable {
            self.report_problems(&found);
            self.unreadable = found.unreadable;
            dirty = true;
        }
        Ok(dirty)
    }

    /// Checks that every file was read without error, and that there is at least one object.
    fn check_all_read(&self, found: &Found) -> Result<(), Unreadable> {
        let unreadable =
            found.unreadable.iter().map(|(path, why)| format!("{}: {why}", path.display()));
        let broken = self.files.iter().filter_map(|(path, file)| {
            Some(format!("{}: {}", path.display(), file.broken.as_ref()?))
        });
        let mut wrong: Vec<String> = unreadable.chain(broken).collect();
        let objects = self.files.values().filter_map(|file| file.content.as_ref());
        if wrong.is_empty() && objects.map(|content| content.objects).sum::<usize>() == 0 {
            let root = self.root.display();
            wrong.push(format!("{root}: no object in any *.yaml, *.yml or *.json file"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(Unreadable(wrong)) }
    }

    /// Polls one file, and reads it if it changed and has settled: two polls must find the same
    /// stamp, so that a file is not read while it is being written. Returns whether anything
    /// changed.
    fn poll_file(&mut self, path: &Path, stamp: Option<Stamp>) -> bool {
        let file = self.files.entry(path.to_owned()).or_default();
        let seen = stamp.map_or(Seen::Gone, Seen::Present);
        let settled = std::mem::replace(&mut file.seen, seen) == seen || !self.synced;
        if !settled || (stamp.is_some() && file.read == stamp) {
            return false;
        }
        let Some(stamp) = stamp else {
            self.files.remove(path);
            return true;
        };
        let (content, read) = load(path, stamp, &self.decoder, &mut self.index);
        // `None` if the file changed while it was read, so that the next poll reads it again.
        file.read = read;
        match content {
            // An empty file is more likely being written than the dump of an empty cluster.
            Ok(content) if content.objects == 0 && file.content.is_some() => {
                file.broken = Some(Broken::whole("it no longer holds any object".to_owned()));
            }
            Ok(content) => (file.content, file.broken) = (Some(content), None),
            Err(why) => file.broken = Some(why),
        }
        true
    }

    /// The problems of paths. The index itself reports the problems of single objects.
    fn problems(&self, found: &Found) -> BTreeMap<Name, Vec<Name>> {
        let mut problems: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        let mut files: BTreeMap<&ObjectRef, &Path> = BTreeMap::new();
        let mut add = |path: &Path, what: String| {
            problems.entry(path.display().to_string().into()).or_default().push(what.into());
        };
        for (path, why) in &found.unreadable {
            let mut under =
                self.files.range(path.clone()..).take_while(|it| it.0.starts_with(path));
            if under.any(|(_, file)| file.content.is_some()) {
                add(path, format!("{why}; {STILL_COUNTS}"));
            } else {
                add(path, why.clone());
            }
        }
        for (path, file) in &self.files {
            for (object, _) in file.content.iter().flat_map(|it| &it.changes) {
                if let Some(earlier) = files.insert(object, path) {
                    let earlier = earlier.display();
                    add(path, format!("{object} is also in {earlier}; the later file counts"));
                }
            }
            for why in file.content.iter().flat_map(|it| &it.nameless) {
                add(path, why.clone());
            }
            match (&file.broken, &file.content) {
                (Some(broken), Some(_)) => add(path, format!("{broken}; {STILL_COUNTS}")),
                (Some(broken), None) => add(path, broken.to_string()),
                (None, _) => {}
            }
        }
        problems
    }

    /// Merges the objects of all files, and applies the differences to the index.
    fn merge(&mut self) {
        let mut objects: BTreeMap<ObjectRef, Arc<Now>> = BTreeMap::new();
        let contents = self.files.values().filter_map(|file| file.content.as_ref());
        for (object, now) in contents.flat_map(|content| &content.changes) {
            let mut now = now.clone();
            if let Now::Malformed { why, .. } = &*now {
                let before = [self.objects.get(object), objects.get(object)];
                let last = before.into_iter().flatten().find_map(|before| last_good(before));
                now = Arc::new(Now::Malformed { why: why.clone(), last });
            }
            objects.insert(object.clone(), now);
        }
        for object in self.objects.keys().filter(|object| !objects.contains_key(object)) {
            self.index.apply(Change { object: object.clone(), now: Now::Gone });
        }
        for (object, now) in &objects {
            if self.objects.get(object) != Some(now) {
                self.index.apply(Change { object: object.clone(), now: Now::clone(now) });
            }
        }
        self.objects = objects;
    }

    /// Passes the problems of paths to the index, and clears those that are solved.
    fn report_problems(&mut self, found: &Found) {
        let problems = self.problems(found);
        for path in self.with_problems.iter().filter(|path| !problems.contains_key(*path)) {
            self.index.complain(path.clone(), Vec::new());
        }
        self.with_problems = problems.keys().cloned().collect();
        for (path, messages) in problems {
            self.index.complain(path, messages);
        }
    }
}

/// An object's last readable facts.
fn last_good(before: &Now) -> Option<Box<Fact>> {
    match before {
        Now::Is(fact) => Some(Box::new(fact.clone())),
        Now::Malformed { last, .. } => last.clone(),
        Now::Gone => None,
    }
}

/// Reads all objects of a file, or of standard input if it is `-`. Lists are unfolded.
///
/// # Errors
/// If the file can't be read. The error says why, and in which line.
pub fn objects_in(path: &Path) -> Result<Vec<Value>, Unreadable> {
    let unreadable = |why: &dyn Display| Unreadable(vec![format!("{}: {why}", path.display())]);
    if path.as_os_str() == STANDARD_INPUT {
        let text = files::standard_input().map_err(|error| unreadable(&error))?;
        // JSON is YAML too, but for some escapes in strings.
        let objects = documents::read(&text, true).or_else(|_| documents::read(&text, false));
        return objects.map_err(|broken| unreadable(&broken));
    }
    let (text, _) = files::read(path).map_err(|error| unreadable(&error))?;
    documents::read(&text, is_json(path)).map_err(|broken| unreadable(&broken))
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}

/// Reads a file that had the stamp `stamp`. The returned stamp is that of the content, or `None` if
/// the file changed meanwhile. A file that can't be read keeps its stamp, so that it is not read
/// again until it changes. What the index has too is shared with it.
fn load(
    path: &Path,
    stamp: Stamp,
    decoder: &Decoder,
    index: &mut Index,
) -> (Result<Content, Broken>, Option<Stamp>) {
    let (text, stamp) = match files::read(path) {
        Ok(read) => read,
        Err(error) => return (Err(Broken::whole(error.to_string())), Some(stamp)),
    };
    let mut content = Content::default();
    let read = documents::each(&text, is_json(path), &mut |object| {
        content.objects += 1;
        match decoder.change(&object) {
            Ok(None) => {}
            Ok(Some(Change { object, mut now })) => {
                index.share(&mut now);
                content.changes.push((object, Arc::new(now)));
            }
            Err(why) => {
                content.nameless.push(format!("object {} is ignored: {why}", content.objects));
            }
        }
    });
    (read.map(|()| content), stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_not_read_while_it_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        let host = |name: &str| {
            format!("---\n{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}}}\n")
        };
        std::fs::write(&path, host("one") + &host("two")).unwrap();
        let mut manifests =
            Manifests::new(folder.path().to_owned(), Decoder::default(), Options::default());
        assert_eq!(manifests.poll(), Ok(true), "the first poll does not wait for files to settle");
        let hosts = |manifests: &Manifests| manifests.index.snapshot().unwrap().count(Kind::Host);
        std::fs::write(&path, host("one")).unwrap();
        assert_eq!(manifests.poll(), Ok(false), "it changed since the last poll");
        std::fs::write(&path, host("one") + &host("two") + &host("three")).unwrap();
        assert_eq!(manifests.poll(), Ok(false), "and again");
        assert_eq!(hosts(&manifests), 2);
        assert_eq!(manifests.poll(), Ok(true));
        assert_eq!(hosts(&manifests), 3);
        assert_eq!(manifests.poll(), Ok(false));
    }

    #[test]
    fn an_unreadable_file_is_read_once_and_not_at_every_poll() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let host = "{apiVersion: v1, kind: Node, metadata: {name: h}}";
        std::fs::write(path("a.yaml"), host).unwrap();
        let mut manifests =
            Manifests::new(folder.path().to_owned(), Decoder::default(), Options::default());
        assert_eq!(manifests.poll(), Ok(true));
        std::fs::write(path("b.yaml"), [0xff]).unwrap();
        assert_eq!(manifests.poll(), Ok(false), "not settled");
        assert_eq!(manifests.poll(), Ok(true));
        assert_eq!(manifests.poll(), Ok(false), "nothing changed");
        let problems = manifests.index.snapshot().unwrap().problems();
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].message.contains(STILL_COUNTS), "it never held anything");
    }

    #[test]
    fn a_malformed_later_copy_of_an_object_does_not_hide_the_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.yaml"), "{apiVersion: v1, kind: Node, metadata: {name: h}}")
            .unwrap();
        let malformed = "{apiVersion: v1, kind: Node, metadata: {name: h, labels: [x]}}";
        std::fs::write(path("b.yaml"), malformed).unwrap();
        let mut manifests =
            Manifests::new(folder.path().to_owned(), Decoder::default(), Options::default());
        let snapshot = manifests.read().unwrap();
        assert_eq!((snapshot.count(Kind::Host), snapshot.problems().len()), (1, 2));
    }
}
