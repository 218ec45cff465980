//! The admin key of a service that was started without one: generated once, and kept beside the data.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use secrecy::SecretString;

use super::StartError;
use crate::config::MIN_KEY_CHARS;
use crate::service::random_key;

/// The key that `path` keeps, or a new one that it keeps from now on. Only the owner may read the file.
pub(super) fn kept_or_generated(path: &Path) -> Result<SecretString, StartError> {
    let unusable = |reason: &dyn std::fmt::Display| {
        StartError::Settings(format!("the admin key in {} {reason}", path.display()))
    };
    match fs::read_to_string(path) {
        Ok(text) => {
            let key = text.trim();
            if key.len() < MIN_KEY_CHARS || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(unusable(
                    &"is not a key: remove the file, and the next start generates a new one",
                ));
            }
            Ok(SecretString::from(key))
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let key = random_key();
            write_new(path, &key).map_err(|err| unusable(&format_args!("cannot be written: {err}")))?;
            Ok(SecretString::from(key))
        }
        Err(err) => Err(unusable(&format_args!("cannot be read: {err}"))),
    }
}

fn write_new(path: &Path, key: &str) -> io::Result<()> {
    let (mut directories, mut file) = (fs::DirBuilder::new(), fs::OpenOptions::new());
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        directories.mode(0o700);
        file.mode(0o600);
    }
    if let Some(parent) = path.parent() {
        directories.recursive(true).create(parent)?;
    }
    let mut file = file.create_new(true).write(true).open(path)?;
    writeln!(file, "{key}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret;

    use super::kept_or_generated;

    #[test]
    fn a_key_is_generated_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data/admin-key");

        let first = kept_or_generated(&path).unwrap();
        let second = kept_or_generated(&path).unwrap();

        assert_eq!(first.expose_secret(), second.expose_secret());
        assert!(first.expose_secret().len() >= 24);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_holds_no_key_is_named_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin-key");
        for text in ["", "\n", "short", "twenty four characters and spaces"] {
            fs::write(&path, text).unwrap();

            let refused = kept_or_generated(&path).unwrap_err().to_string();

            assert!(
                refused.contains("admin-key") && refused.contains("is not a key"),
                "{refused}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
