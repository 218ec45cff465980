//! A file that is replaced as a whole, or stays as it was.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The name of a draft: that of the file with `.part` behind it, so that two files never share one.
pub(super) fn draft_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    PathBuf::from(name)
}

/// A file being written. Its draft takes the file's place with [`WholeFile::finish`]; dropped before, nothing is left of it.
pub(super) enum WholeFile {
    /// A regular file, or none yet.
    Draft(Draft),
    /// A device or a pipe, which cannot be replaced.
    Direct(File),
}

/// What a [`WholeFile`] is written to.
pub(super) struct Draft {
    file: BufWriter<File>,
    path: PathBuf,
    target: PathBuf,
    finished: bool,
}

impl WholeFile {
    /// Begins the file called `path`. A link is followed. Fails while another process writes the same file.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let held = match fs::metadata(&target) {
            Ok(held) => Some(held),
            Err(err) if err.kind() == io::ErrorKind::NotFound => None,
            Err(err) => return Err(err),
        };
        if held
            .as_ref()
            .is_some_and(|held| !held.is_file() && !held.is_dir())
        {
            return fs::OpenOptions::new().write(true).open(&target).map(Self::Direct);
        }
        if held.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let draft = draft_of(&target);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&draft)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another process writes it"));
            }
            // Not every file system has locks.
            Err(TryLockError::Error(err)) if err.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(err)) => return Err(err),
        }
        file.set_len(0)?;
        if let Some(held) = held {
            file.set_permissions(held.permissions())?;
        }
        Ok(Self::Draft(Draft {
            file: BufWriter::new(file),
            path: draft,
            target,
            finished: false,
        }))
    }

    /// Puts the file in its place. What was written survives a loss of power from here on.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Direct(mut file) => file.flush(),
            Self::Draft(mut draft) => {
                draft.file.flush()?;
                draft.file.get_ref().sync_all()?;
                fs::rename(&draft.path, &draft.target)?;
                draft.finished = true;
                match draft.target.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
                    _ => File::open(".")?.sync_all(),
                }
            }
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Draft(draft) => draft.file.write(bytes),
            Self::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Draft(draft) => draft.file.flush(),
            Self::Direct(file) => file.flush(),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::WholeFile;

    #[test]
    fn a_file_that_is_not_finished_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("links.csv");
        fs::write(&path, "before").unwrap();

        let mut dropped = WholeFile::create(&path).unwrap();
        dropped.write_all(b"half").unwrap();
        drop(dropped);
        let after_a_drop = fs::read_to_string(&path).unwrap();
        let mut finished = WholeFile::create(&path).unwrap();
        finished.write_all(b"whole").unwrap();
        finished.finish().unwrap();

        assert_eq!(after_a_drop, "before");
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_with_one_stem_have_drafts_of_their_own_and_one_file_has_one_writer() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("links.a"), directory.path().join("links.b"));
        let mut writers = [
            WholeFile::create(&first).unwrap(),
            WholeFile::create(&second).unwrap(),
        ];

        let third = WholeFile::create(&first);
        for (writer, text) in writers.iter_mut().zip(["a", "b"]) {
            writer.write_all(text.as_bytes()).unwrap();
        }
        for writer in writers {
            writer.finish().unwrap();
        }

        assert!(third.is_err());
        assert_eq!(fs::read_to_string(first).unwrap(), "a");
        assert_eq!(fs::read_to_string(second).unwrap(), "b");
    }

    #[test]
    fn a_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "before").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();

        let mut written = WholeFile::create(&link).unwrap();
        written.write_all(b"after").unwrap();
        written.finish().unwrap();

        assert_eq!(fs::read_to_string(&file).unwrap(), "after");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
