//! The files under a directory, and when they change.
//!
//! They are looked at several times a second, not watched: what a watch misses (a symlink swap, a
//! network file system) a look does not. A file counts as changed once it looks the same twice, so
//! that one being written is not read half.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep folders may lie in one another; a loop of symlinks ends here at the latest.
const MOST_DEPTH: usize = 32;
/// How many files are read at most.
const MOST_FILES: usize = 100_000;
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// The stamp of a file now, its symlinks followed.
    pub fn now(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|meta| Self::of(&meta))
    }
}

/// Every manifest file: `root` itself, or those below it whose names end right and are not hidden.
pub(super) fn find(root: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let meta = fs::metadata(root)?;
    let mut found = BTreeMap::new();
    if meta.is_dir() {
        let mut above = vec![(meta.dev(), meta.ino())];
        descend(root, &mut above, &mut found)?;
    } else {
        found.insert(root.to_owned(), Stamp::of(&meta));
    }
    Ok(found)
}

fn descend(
    folder: &Path,
    above: &mut Vec<(u64, u64)>,
    found: &mut BTreeMap<PathBuf, Stamp>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        // What is gone since the folder was listed, or is a symlink to nowhere, is not there.
        let Some(meta) = (!hidden).then(|| fs::metadata(&path).ok()).flatten() else { continue };
        let identity = (meta.dev(), meta.ino());
        if meta.is_dir() {
            if above.len() < MOST_DEPTH && !above.contains(&identity) {
                above.push(identity);
                descend(&path, above, found)?;
                above.pop();
            }
        } else if meta.is_file()
            && path.extension().is_some_and(|it| ENDINGS.iter().any(|ending| it == *ending))
        {
            if found.len() == MOST_FILES {
                return Err(io::Error::other(format!("more than {MOST_FILES} files")));
            }
            found.insert(path, Stamp::of(&meta));
        }
    }
    Ok(())
}
