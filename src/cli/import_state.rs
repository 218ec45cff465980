//! How far an import has come, in a file, so that the next run goes on from there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::whole_file::draft_of;

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;

/// How far the import of one file has come. The file is told by its length and its SHA-256: another export may be as long.
pub(super) struct State {
    path: PathBuf,
    file: String,
    /// Links that were read.
    pub(super) read: u64,
}

impl State {
    /// The state in `path` of the import of `imported`; an error if it is of another file.
    pub(super) fn read(path: &Path, imported: &Path) -> Result<Self, String> {
        let mut state = Self {
            path: path.to_owned(),
            file: identity(imported).map_err(|err| format!("the file cannot be read: {err}"))?,
            read: 0,
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(state),
            Err(err) => return Err(format!("the state cannot be read: {err}")),
        };
        let kept = text
            .trim_end()
            .split_once(" of ")
            .and_then(|(read, file)| Some((read.parse::<u64>().ok()?, file)));
        match kept {
            Some((read, file)) if file == state.file => {
                state.read = read;
                Ok(state)
            }
            _ => Err("the state is of another file: remove it to begin anew".to_owned()),
        }
    }

    /// Keeps how far the import has come, whole or not at all.
    pub(super) fn write(&self, read: u64) -> Result<(), String> {
        let draft = draft_of(&self.path);
        fs::write(&draft, format!("{read} of {}\n", self.file))
            .and_then(|()| fs::rename(&draft, &self.path))
            .map_err(|err| format!("the state cannot be written: {err}"))
    }
}

/// What tells a file from others.
fn identity(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(
            "--state needs a regular file, which can be read again",
        ));
    }
    let (mut hash, mut length, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        length += read as u64;
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("a file of {length} bytes, sha256 {hash}"))
}
