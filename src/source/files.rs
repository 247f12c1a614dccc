//! The files under a directory, and when they change.
//!
//! They are looked at several times a second, not watched: what a watch misses (a symlink swap, a
//! network file system) a look does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes.
const MOST_BYTES: u64 = 512 << 20;
/// How many files and folders are looked at, symlinks to them included.
const MOST_ENTRIES: usize = 100_000;
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    identity: Identity,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file or folder, by whatever path.
type Identity = (u64, u64);

fn identity(meta: &fs::Metadata) -> Identity {
    (meta.dev(), meta.ino())
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            identity: identity(meta),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// What one look found.
#[derive(Default)]
pub(super) struct Found {
    /// The manifest files.
    pub files: BTreeMap<PathBuf, Stamp>,
    /// What can't be looked at, and why. What lies there may be as it was.
    pub unreadable: BTreeMap<PathBuf, String>,
}

impl Found {
    /// Whether a path can't be looked at, itself or by a folder above it.
    pub fn hides(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.unreadable.contains_key(above))
    }

    /// Notes that a path can't be looked at, unless it is simply not there: it may have gone since
    /// its folder was listed, or be a symlink to nowhere.
    fn refuse(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != ErrorKind::NotFound {
            self.unreadable.insert(path.to_owned(), error.to_string());
        }
    }
}

/// Looks for manifest files: `root` itself, or those below it whose names end right and are not
/// hidden.
pub(super) fn find(root: &Path) -> Found {
    let mut found = Found::default();
    match fs::metadata(root) {
        Ok(meta) if meta.is_dir() => descend(root, &mut found),
        Ok(meta) if meta.is_file() => {
            found.files.insert(root.to_owned(), Stamp::of(&meta));
        }
        Ok(_) => {
            let why = "neither a file nor a directory".to_owned();
            found.unreadable.insert(root.to_owned(), why);
        }
        // Unlike any other path, the one that was given has to be there.
        Err(error) => {
            found.unreadable.insert(root.to_owned(), error.to_string());
        }
    }
    found
}

/// Looks through a folder and those below it, each once by whatever symlinks it is reached.
fn descend(root: &Path, found: &mut Found) {
    let mut left = vec![root.to_owned()];
    let mut seen: BTreeSet<Identity> = fs::metadata(root).iter().map(identity).collect();
    let mut entries = 0;
    while let Some(folder) = left.pop() {
        let listed = match fs::read_dir(&folder) {
            Ok(listed) => listed,
            Err(error) => {
                found.refuse(&folder, &error);
                continue;
            }
        };
        let mut folders = Vec::new();
        for entry in listed {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    found.refuse(&folder, &error);
                    break;
                }
            };
            let name = path.file_name().unwrap_or_default();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            entries += 1;
            if entries > MOST_ENTRIES {
                let why = format!("more than {MOST_ENTRIES} files and folders");
                found.unreadable.insert(root.to_owned(), why);
                return;
            }
            let manifest = path.extension().is_some_and(|it| ENDINGS.iter().any(|end| it == *end));
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => folders.push((path, identity(&meta))),
                Ok(meta) if meta.is_file() && manifest => {
                    found.files.insert(path, Stamp::of(&meta));
                }
                Ok(_) => {}
                Err(error) => found.refuse(&path, &error),
            }
        }
        // In order, so that of two ways to a folder always the same one counts.
        folders.sort();
        let new = folders.into_iter().filter(|(_, identity)| seen.insert(*identity));
        left.extend(new.map(|(path, _)| path).collect::<Vec<_>>().into_iter().rev());
    }
}

/// Reads a file whole, with the stamp of what was read: none, if it changed meanwhile.
pub(super) fn read(path: &Path) -> io::Result<(String, Option<Stamp>)> {
    let file = File::open(path)?;
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut text = String::new();
    (&file).take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("larger than {} MiB", MOST_BYTES >> 20)));
    }
    let (before, after) = (Stamp::of(&before), Stamp::of(&file.metadata()?));
    Ok((text, (before == after).then_some(after)))
}
