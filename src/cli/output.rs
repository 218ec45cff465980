//! What commands print. A reader that has left, as in `curtail keys list | head -1`, wants no more, and is no failure.

use std::io::{self, Write};

/// Writes to the standard output. `false` if its reader has left.
pub(super) fn write(bytes: &[u8]) -> Result<bool, String> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(err) => Err(format!("the standard output cannot be written: {err}")),
    }
}

/// Writes a line for a person to the standard error, if there is still a reader.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
