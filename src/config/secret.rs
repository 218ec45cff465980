//! Secrets: by value or by file, never printed.

use std::path::Path;

use secrecy::SecretString;

/// The longest file that is taken for a secret, in bytes.
const MAX_LEN: u64 = 65_536;

/// A secret as it was given, by value or by file, without one line break at its end: editors and `echo` write one, and
/// secret managers keep it.
pub(super) fn without_line_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Reads a secret from a file, as [`without_line_break`].
pub(super) fn read_file(path: &Path) -> Result<SecretString, String> {
    let len = std::fs::metadata(path)
        .map_err(|err| format!("names a file that cannot be read: {err}"))?
        .len();
    if len > MAX_LEN {
        return Err(format!("names a file of more than {MAX_LEN} bytes"));
    }
    let text =
        std::fs::read_to_string(path).map_err(|err| format!("names a file that cannot be read: {err}"))?;
    let text = without_line_break(&text);
    if text.trim().is_empty() {
        return Err("names an empty file".to_owned());
    }
    Ok(SecretString::from(text))
}
