//! Manifests on disk as the source of truth, followed as they change (docs/reference.md, "Server").
//!
//! ```text
//! files ─▶ settled? ─▶ read ─▶ what each file holds ─▶ one map of objects ─▶ difference ─▶ index
//! ```
//! What breaks keeps its last good content: a file that can't be read any more, or holds nothing any
//! more, and an object that can't be read any more. Before everything was good once, nothing is
//! published.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Change, Fact, Index, Kind, Name, Now, ObjectRef, Options, Snapshot};
use crate::k8s::Decoder;
use crate::publish::Publisher;

use super::documents::{self, Broken};
use super::files::{self, Found, Stamp};

/// How often the files are looked at. Twice this, and the reading, is within the second in which
/// a change must be in force.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What stands behind a complaint about something that was good before.
const STILL_COUNTS: &str = "what it held before still counts";

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
    objects: BTreeMap<ObjectRef, Now>,
    /// What could not be looked at last time, and why.
    unreadable: BTreeMap<PathBuf, String>,
    /// The places that there is a complaint about.
    complained: BTreeSet<Name>,
    synced: bool,
}

/// What is known of one file.
#[derive(Default)]
struct File {
    /// What was looked at when it was last read.
    read: Option<Stamp>,
    /// How it looked last time.
    seen: Look,
    /// The last good content.
    content: Option<Content>,
    /// Why what is there now can't be read.
    broken: Option<Broken>,
}

/// How a file looked.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Look {
    #[default]
    NeverYet,
    Gone,
    There(Stamp),
}

#[derive(Default)]
struct Content {
    changes: Vec<Change>,
    /// Objects that can't be kept under a name, and why.
    nameless: Vec<String>,
    /// How many objects there are, those that are nothing to us included.
    objects: usize,
}

impl Manifests {
    /// Manifests at `root`, which is not looked at yet.
    #[must_use]
    pub fn new(root: PathBuf, decoder: Decoder, options: Options) -> Self {
        Self {
            root,
            decoder,
            index: Index::new(options),
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            complained: BTreeSet::new(),
            synced: false,
        }
    }

    /// Reads all files once.
    ///
    /// # Errors
    /// Every file that can't be read, with the line.
    pub fn read(&mut self) -> Result<Snapshot, Unreadable> {
        self.look()?;
        self.index.snapshot().ok_or_else(|| Unreadable(Vec::new()))
    }

    /// The objects themselves, as the files that were read have them now. The later of two counts.
    ///
    /// # Errors
    /// Every file that can't be read any more.
    pub fn objects(&self) -> Result<BTreeMap<ObjectRef, Value>, Unreadable> {
        let mut all = BTreeMap::new();
        for path in self.files.keys() {
            for object in objects_in(path)? {
                if let Ok(Some(change)) = self.decoder.change(&object) {
                    all.insert(change.object, object);
                }
            }
        }
        Ok(all)
    }

    /// Follows the files until the process ends, and publishes what changes.
    pub async fn follow(mut self, publisher: Publisher) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reported = Vec::new();
        let mut known: BTreeSet<Name> = BTreeSet::new();
        loop {
            every.tick().await;
            let started = Instant::now();
            let looked = tokio::task::block_in_place(|| self.look());
            match looked {
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

    /// Looks at the files and takes in what changed. Says whether anything did.
    ///
    /// # Errors
    /// Before everything was good once: what is not.
    fn look(&mut self) -> Result<bool, Unreadable> {
        let found = files::find(&self.root);
        let mut paths: BTreeSet<PathBuf> = found.files.keys().cloned().collect();
        paths.extend(self.files.keys().cloned());
        let mut dirty = false;
        for path in paths.into_iter().filter(|path| !found.hides(path)) {
            dirty |= self.look_at(&path, found.files.get(&path).copied());
        }
        if !self.synced {
            self.all_good(&found)?;
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
            self.complain(&found);
            self.unreadable = found.unreadable;
            dirty = true;
        }
        Ok(dirty)
    }

    /// Whether everything there is could be read, and is anything.
    fn all_good(&self, found: &Found) -> Result<(), Unreadable> {
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

    /// Looks at one file, and reads it if it changed and is settled: if it looked the same twice,
    /// so that one being written is not read half. Says whether anything came of it.
    fn look_at(&mut self, path: &Path, stamp: Option<Stamp>) -> bool {
        let file = self.files.entry(path.to_owned()).or_default();
        let look = stamp.map_or(Look::Gone, Look::There);
        let settled = std::mem::replace(&mut file.seen, look) == look || !self.synced;
        if !settled || (stamp.is_some() && file.read == stamp) {
            return false;
        }
        let Some(stamp) = stamp else {
            self.files.remove(path);
            return true;
        };
        let (content, read) = load(path, stamp, &self.decoder);
        // One that changed while it was read is read again at the next look.
        file.read = read;
        match content {
            // An empty file is more likely one being written than a cluster that is gone.
            Ok(content) if content.objects == 0 && file.content.is_some() => {
                file.broken = Some(Broken::whole("no object in it any more".to_owned()));
            }
            Ok(content) => (file.content, file.broken) = (Some(content), None),
            Err(why) => file.broken = Some(why),
        }
        true
    }

    /// What there is to complain about but for single objects.
    fn complaints(&self, found: &Found) -> BTreeMap<Name, Vec<Name>> {
        let mut complaints: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        let mut places: BTreeMap<&ObjectRef, &Path> = BTreeMap::new();
        let mut complain = |path: &Path, what: String| {
            complaints.entry(path.display().to_string().into()).or_default().push(what.into());
        };
        for (path, why) in &found.unreadable {
            complain(path, format!("{why}; {STILL_COUNTS}"));
        }
        for (path, file) in &self.files {
            for Change { object, .. } in file.content.iter().flat_map(|it| &it.changes) {
                if let Some(earlier) = places.insert(object, path) {
                    let earlier = earlier.display();
                    complain(path, format!("{object} is in {earlier} too; the later one counts"));
                }
            }
            for why in file.content.iter().flat_map(|it| &it.nameless) {
                complain(path, why.clone());
            }
            match (&file.broken, &file.content) {
                (Some(broken), Some(_)) => complain(path, format!("{broken}; {STILL_COUNTS}")),
                (Some(broken), None) => complain(path, broken.to_string()),
                (None, _) => {}
            }
        }
        complaints
    }

    /// Puts together what all files hold, and tells the index what became different.
    fn merge(&mut self) {
        let mut objects: BTreeMap<ObjectRef, Now> = BTreeMap::new();
        let contents = self.files.values().filter_map(|file| file.content.as_ref());
        for Change { object, now } in contents.flat_map(|content| &content.changes) {
            let mut now = now.clone();
            if let Now::Malformed { last, .. } = &mut now {
                let before = [self.objects.get(object), objects.get(object)];
                *last = before.into_iter().flatten().find_map(last_good);
            }
            objects.insert(object.clone(), now);
        }
        for object in self.objects.keys().filter(|object| !objects.contains_key(object)) {
            self.index.apply(Change { object: object.clone(), now: Now::Gone });
        }
        for (object, now) in &objects {
            if self.objects.get(object) != Some(now) {
                self.index.apply(Change { object: object.clone(), now: now.clone() });
            }
        }
        self.objects = objects;
    }

    /// Tells the index what there is to complain about.
    fn complain(&mut self, found: &Found) {
        let complaints = self.complaints(found);
        for place in self.complained.iter().filter(|place| !complaints.contains_key(*place)) {
            self.index.complain(place.clone(), Vec::new());
        }
        self.complained = complaints.keys().cloned().collect();
        for (place, here) in complaints {
            self.index.complain(place, here);
        }
    }
}

/// What an object last said when it could be read.
fn last_good(before: &Now) -> Option<Box<Fact>> {
    match before {
        Now::Is(fact) => Some(Box::new(fact.clone())),
        Now::Malformed { last, .. } => last.clone(),
        Now::Gone => None,
    }
}

/// All objects of a file, lists taken apart.
///
/// # Errors
/// Says why it can't be read, and where.
pub fn objects_in(path: &Path) -> Result<Vec<Value>, Unreadable> {
    let unreadable = |why: &dyn Display| Unreadable(vec![format!("{}: {why}", path.display())]);
    let (text, _) = files::read(path).map_err(|error| unreadable(&error))?;
    documents::read(&text, is_json(path)).map_err(|broken| unreadable(&broken))
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}

/// Reads a file that looks like `stamp`; with the stamp of what was read, if it did not change
/// meanwhile. What can't be read is not tried again before it looks otherwise.
fn load(path: &Path, stamp: Stamp, decoder: &Decoder) -> (Result<Content, Broken>, Option<Stamp>) {
    let (text, stamp) = match files::read(path) {
        Ok(read) => read,
        Err(error) => return (Err(Broken::whole(error.to_string())), Some(stamp)),
    };
    let content = documents::read(&text, is_json(path)).map(|objects| {
        let mut content = Content { objects: objects.len(), ..Content::default() };
        for (position, object) in objects.iter().enumerate() {
            match decoder.change(object) {
                Ok(change) => content.changes.extend(change),
                Err(why) => {
                    content.nameless.push(format!("object {} is ignored: {why}", position + 1));
                }
            }
        }
        content
    });
    (content, stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_being_written_is_not_read_half() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        let host = |name: &str| {
            format!("---\n{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}}}\n")
        };
        std::fs::write(&path, host("one") + &host("two")).unwrap();
        let mut manifests =
            Manifests::new(folder.path().to_owned(), Decoder::default(), Options::default());
        assert_eq!(manifests.look(), Ok(true), "at the start there is nothing to wait for");
        let hosts = |manifests: &Manifests| manifests.index.snapshot().unwrap().count(Kind::Host);
        std::fs::write(&path, host("one")).unwrap();
        assert_eq!(manifests.look(), Ok(false), "it changed since the last look");
        std::fs::write(&path, host("one") + &host("two") + &host("three")).unwrap();
        assert_eq!(manifests.look(), Ok(false), "and again");
        assert_eq!(hosts(&manifests), 2);
        assert_eq!(manifests.look(), Ok(true));
        assert_eq!(hosts(&manifests), 3);
        assert_eq!(manifests.look(), Ok(false));
    }

    #[test]
    fn a_file_that_cant_be_read_is_tried_once_and_not_at_every_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let host = "{apiVersion: v1, kind: Node, metadata: {name: h}}";
        std::fs::write(path("a.yaml"), host).unwrap();
        let mut manifests =
            Manifests::new(folder.path().to_owned(), Decoder::default(), Options::default());
        assert_eq!(manifests.look(), Ok(true));
        std::fs::write(path("b.yaml"), [0xff]).unwrap();
        assert_eq!(manifests.look(), Ok(false), "not settled");
        assert_eq!(manifests.look(), Ok(true));
        assert_eq!(manifests.look(), Ok(false), "nothing is different");
        let problems = manifests.index.snapshot().unwrap().problems();
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].message.contains(STILL_COUNTS), "it never held anything");
    }

    #[test]
    fn of_the_same_object_twice_a_malformed_later_one_does_not_hide_the_earlier() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.yaml"), "{apiVersion: v1, kind: Node, metadata: {name: h}}")
            .unwrap();
        let odd = "{apiVersion: v1, kind: Node, metadata: {name: h, labels: [x]}}";
        std::fs::write(path("b.yaml"), odd).unwrap();
        let mut manifests =
            Manifests::new(folder.path().to_owned(), Decoder::default(), Options::default());
        let snapshot = manifests.read().unwrap();
        assert_eq!((snapshot.count(Kind::Host), snapshot.problems().len()), (1, 2));
    }
}
