//! Finds the manifest files under a directory, and notices when they change.
//!
//! The files are polled several times a second, since a file watch would miss changes behind a
//! symlink swap or on a network file system.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest manifest file, in bytes.
const MAX_BYTES: u64 = 512 << 20;
/// The most files and folders, including symlinks to them.
const MAX_ENTRIES: usize = 100_000;
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Metadata that differs whenever the content of a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    identity: Identity,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Device and inode: the same for every path to a file or folder.
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

/// The result of one poll.
#[derive(Default)]
pub(super) struct Found {
    /// The manifest files.
    pub files: BTreeMap<PathBuf, Stamp>,
    /// The paths that can't be examined, and why. The files below them may still be there.
    pub unreadable: BTreeMap<PathBuf, String>,
}

impl Found {
    /// Returns whether a path, or a folder above it, can't be examined.
    pub fn hides(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.unreadable.contains_key(above))
    }

    /// Marks a path as unreadable, unless it does not exist: it may have been deleted since its
    /// folder was listed, or be a dangling symlink.
    fn mark_unreadable(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != ErrorKind::NotFound {
            self.unreadable.insert(path.to_owned(), error.to_string());
        }
    }
}

/// Finds the manifest files: `root` itself, or the files below it that have one of the `ENDINGS`
/// and are not hidden.
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
        // Unlike any other path, the root must exist.
        Err(error) => {
            found.unreadable.insert(root.to_owned(), error.to_string());
        }
    }
    found
}

/// Searches a folder and those below it, each once even if several symlinks lead to it.
fn descend(root: &Path, found: &mut Found) {
    let mut left = vec![root.to_owned()];
    let mut seen: BTreeSet<Identity> = fs::metadata(root).iter().map(identity).collect();
    let mut entries = 0;
    while let Some(folder) = left.pop() {
        let listed = match fs::read_dir(&folder) {
            Ok(listed) => listed,
            Err(error) => {
                found.mark_unreadable(&folder, &error);
                continue;
            }
        };
        let mut folders = Vec::new();
        for entry in listed {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    found.mark_unreadable(&folder, &error);
                    break;
                }
            };
            let name = path.file_name().unwrap_or_default();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            entries += 1;
            if entries > MAX_ENTRIES {
                let why = format!("more than {MAX_ENTRIES} files and folders");
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
                Err(error) => found.mark_unreadable(&path, &error),
            }
        }
        // Sorted, so that among several paths to a folder always the same one counts.
        folders.sort();
        let new = folders.into_iter().filter(|(_, identity)| seen.insert(*identity));
        left.extend(new.map(|(path, _)| path).collect::<Vec<_>>().into_iter().rev());
    }
}

/// Reads all of standard input.
pub(super) fn standard_input() -> io::Result<String> {
    text(io::stdin().lock())
}

fn text(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => io::Error::other("this is not UTF-8; save it as UTF-8"),
        _ => error,
    })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(text)
}

/// Reads a whole file. The stamp is `None` if the file changed meanwhile.
pub(super) fn read(path: &Path) -> io::Result<(String, Option<Stamp>)> {
    let file = File::open(path)?;
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let text = text(&file)?;
    let (before, after) = (Stamp::of(&before), Stamp::of(&file.metadata()?));
    Ok((text, (before == after).then_some(after)))
}
