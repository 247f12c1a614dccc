//! Manifests on disk as the source of truth, followed as they change (spec, section 7).
//!
//! ```text
//! files ─▶ settled? ─▶ read ─▶ what each file holds ─▶ one map of objects ─▶ difference ─▶ index
//! ```
//! A file that breaks keeps its last good content; before every file was good once, nothing is
//! published.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::{Change, Index, Kind, Name, Now, ObjectRef, Options, Snapshot};
use crate::k8s::objects::Reader;
use crate::publish::Publisher;

use super::documents::{self, Broken, MOST_BYTES};
use super::files::{self, Stamp};

/// How often the files are looked at. Twice this, and the reading, is within the second in which
/// a change must be in force.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Manifests under a directory, or in one file.
pub struct Manifests {
    root: PathBuf,
    reader: Reader,
    index: Index,
    files: BTreeMap<PathBuf, File>,
    /// What all files together hold.
    objects: BTreeMap<ObjectRef, Now>,
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

struct Content {
    changes: Vec<Change>,
    /// Objects that can't be kept under a name, and why.
    nameless: Vec<String>,
}

impl Manifests {
    /// Manifests at `root`, which is not looked at yet.
    #[must_use]
    pub fn new(root: PathBuf, reader: Reader, options: Options) -> Self {
        Self {
            root,
            reader,
            index: Index::new(options),
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
            complained: BTreeSet::new(),
            synced: false,
        }
    }

    /// Reads all files once.
    ///
    /// # Errors
    /// Every file that can't be read, with the line.
    pub fn read(&mut self) -> Result<Snapshot, Vec<String>> {
        self.look()?;
        self.index.snapshot().ok_or_else(Vec::new)
    }

    /// Follows the files until the process ends, and publishes what changes.
    pub async fn follow(mut self, publisher: Publisher) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reported = Vec::new();
        loop {
            every.tick().await;
            let started = Instant::now();
            let looked = tokio::task::block_in_place(|| self.look());
            match looked {
                Ok(false) => {}
                Ok(true) => {
                    if let Some(snapshot) = self.index.snapshot() {
                        let problems = snapshot.problems().len();
                        tracing::info!(root = %self.root.display(), problems, "manifests read");
                        publisher.publish(snapshot, started.elapsed());
                    }
                }
                Err(broken) if broken == reported => {}
                Err(broken) => {
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
    fn look(&mut self) -> Result<bool, Vec<String>> {
        let (found, missing) = match files::find(&self.root) {
            Ok(found) => (found, None),
            Err(error) if !self.synced => {
                return Err(vec![format!("{}: {error}", self.root.display())]);
            }
            // The files keep their last good content.
            Err(error) => {
                (self.files.iter().filter_map(as_read).collect(), Some(error.to_string()))
            }
        };
        let paths: BTreeSet<&PathBuf> = found.keys().chain(self.files.keys()).collect();
        let mut dirty = false;
        for path in paths.into_iter().cloned().collect::<Vec<_>>() {
            dirty |= self.look_at(&path, found.get(&path).copied());
        }
        if !self.synced {
            let broken: Vec<String> =
                self.files.iter().filter_map(|(path, file)| file.complaint(path)).collect();
            if !broken.is_empty() {
                return Err(broken);
            }
            for kind in Kind::ALL {
                self.index.listed(kind);
            }
            self.synced = true;
            dirty = true;
        }
        if dirty {
            self.merge();
        }
        let root: Name = self.root.display().to_string().into();
        let complaint = missing.map(|why| format!("{why}; what was read last still counts"));
        Ok(self.complain(root, complaint.into_iter().collect()) | dirty)
    }

    /// Looks at one file, and reads it if it changed and is settled. Says whether it did.
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
        let content = load(path, stamp, &self.reader);
        // One that changed while it was read is read again at the next look.
        file.read = Some(stamp).filter(|stamp| Stamp::now(path).ok() == Some(*stamp));
        match content {
            Ok(content) => (file.content, file.broken) = (Some(content), None),
            Err(why) => file.broken = Some(why),
        }
        true
    }

    /// Puts together what all files hold, and tells the index what became different.
    fn merge(&mut self) {
        let mut objects: BTreeMap<ObjectRef, Now> = BTreeMap::new();
        let mut places: BTreeMap<&ObjectRef, &Path> = BTreeMap::new();
        let mut complaints: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        for (path, file) in &self.files {
            let mut here: Vec<String> = Vec::new();
            for Change { object, now } in file.content.iter().flat_map(|it| &it.changes) {
                objects.insert(object.clone(), now.clone());
                if let Some(earlier) = places.insert(object, path) {
                    let earlier = earlier.display();
                    here.push(format!("{object} is in {earlier} too; the later one counts"));
                }
            }
            here.extend(file.content.iter().flat_map(|it| &it.nameless).cloned());
            here.extend(
                file.broken
                    .iter()
                    .map(|broken| format!("{broken}; what the file held before still counts")),
            );
            if !here.is_empty() {
                let place = path.display().to_string().into();
                complaints.insert(place, here.into_iter().map(Name::from).collect());
            }
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
        for place in self.complained.clone() {
            if !complaints.contains_key(&place) {
                self.complain(place, Vec::new());
            }
        }
        for (place, here) in complaints {
            for complaint in &here {
                tracing::warn!(%place, "{complaint}");
            }
            self.index.complain(place.clone(), here);
            self.complained.insert(place);
        }
    }

    /// Sets the complaints about a place; says whether there are any now that there were not, or
    /// the other way round.
    fn complain(&mut self, place: Name, complaints: Vec<String>) -> bool {
        let any = !complaints.is_empty();
        self.index.complain(place.clone(), complaints.into_iter().map(Name::from).collect());
        if any { self.complained.insert(place) } else { self.complained.remove(&place) }
    }
}

fn as_read((path, file): (&PathBuf, &File)) -> Option<(PathBuf, Stamp)> {
    Some((path.clone(), file.read?))
}

impl File {
    fn complaint(&self, path: &Path) -> Option<String> {
        self.broken.as_ref().map(|broken| format!("{}: {broken}", path.display()))
    }
}

fn load(path: &Path, stamp: Stamp, reader: &Reader) -> Result<Content, Broken> {
    let broken = |why: String| Broken { line: None, why };
    if stamp.size > MOST_BYTES {
        return Err(broken(format!("the file is larger than {} MiB", MOST_BYTES >> 20)));
    }
    let bytes = fs::read(path).map_err(|error| broken(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| broken(error.to_string()))?;
    let json = path.extension().is_some_and(|ending| ending == "json");
    let objects = documents::read(text, json)?;
    let mut content = Content { changes: Vec::new(), nameless: Vec::new() };
    for (position, object) in objects.iter().enumerate() {
        match reader.change(object) {
            Ok(change) => content.changes.extend(change),
            Err(why) => content.nameless.push(format!("object {} is ignored: {why}", position + 1)),
        }
    }
    Ok(content)
}
