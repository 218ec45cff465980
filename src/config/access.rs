//! Who may do what.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::{DATA, Env, Place};

/// The settings of access.
#[derive(Debug, Clone)]
pub struct Access {
    /// The key with every scope.
    pub admin_api_key: Option<SecretString>,
    /// The file that keeps a generated admin key, if one is to be generated: the start does so, as the settings only read.
    pub generated_key: Option<PathBuf>,
    /// Whether links may be made without a key.
    pub anonymous_create: bool,
    /// Trial mode: no key is needed for anything.
    pub trial: bool,
}

/// The file in [`DATA`] that keeps a generated admin key.
const KEY_FILE: &str = "admin-key";

/// The fewest characters of an admin key.
pub const MIN_KEY_CHARS: usize = 24;

/// The fewest different characters of `ADMIN_API_KEY`.
const MIN_KEY_DISTINCT: usize = 6;

/// Parts of keys that stand in examples and templates, in lower case.
const PLACEHOLDERS: [&str; 12] = [
    "change-me",
    "change_me",
    "changeme",
    "default",
    "example",
    "insecure",
    "password",
    "placeholder",
    "qwertyui",
    "replace-me",
    "your-key",
    "yourkey",
];

impl Access {
    pub(super) fn read(env: &mut Env, place: Place) -> Self {
        let admin_api_key = env.secret("ADMIN_API_KEY");
        if let Some(key) = &admin_api_key {
            let key = key.expose_secret();
            if key.chars().count() < MIN_KEY_CHARS {
                env.fault(
                    "ADMIN_API_KEY",
                    format!("is too short: at least {MIN_KEY_CHARS} characters"),
                );
            }
            if let Some(weakness) = weakness(key) {
                env.fault(
                    "ADMIN_API_KEY",
                    format!("is too weak: {weakness}. Create one with `openssl rand -hex 24`"),
                );
            }
            if !key.bytes().all(|b| b.is_ascii_graphic()) {
                env.fault(
                    "ADMIN_API_KEY",
                    "is not valid: visible ASCII characters without spaces",
                );
            }
        }
        let generated = place.open_trial && admin_api_key.is_none();
        Self {
            generated_key: generated.then(|| PathBuf::from(DATA).join(KEY_FILE)),
            admin_api_key,
            anonymous_create: env.flag_or("ANONYMOUS_CREATE", false),
            trial: place.trial,
        }
    }
}

/// Why a key of sufficient length can be guessed.
fn weakness(key: &str) -> Option<&'static str> {
    let lower = key.to_ascii_lowercase();
    if PLACEHOLDERS.iter().any(|placeholder| lower.contains(placeholder)) {
        return Some("it is a placeholder");
    }
    let bytes = lower.as_bytes();
    let distinct = bytes
        .iter()
        .enumerate()
        .filter(|(at, byte)| !bytes[..*at].contains(byte))
        .count();
    if distinct < MIN_KEY_DISTINCT {
        return Some("it has too few different characters");
    }
    let repeats = |length: usize| {
        bytes
            .iter()
            .zip(&bytes[length..])
            .all(|(one, other)| one == other)
    };
    if (1..=bytes.len() / 2).any(repeats) {
        return Some("it repeats a part");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::weakness;

    #[test]
    fn keys_that_can_be_guessed_are_weak() {
        for key in [
            "change-me-change-me-change-me",
            "CHANGEME-CHANGEME-CHANGEME",
            "my-password-is-very-long-indeed",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "ababababcabababababcababababab",
            "f3k9-q2x7-f3k9-q2x7-f3k9-q2x7",
        ] {
            assert!(weakness(key).is_some(), "{key}");
        }
    }

    #[test]
    fn random_keys_are_not() {
        let digits: Vec<char> = "0123456789".chars().collect();
        let hexadecimal: Vec<char> = "0123456789abcdef".chars().collect();
        for _ in 0..1000 {
            for alphabet in [&digits, &hexadecimal] {
                let key = nanoid::nanoid!(32, alphabet);
                assert_eq!(weakness(&key), None, "{key}");
            }
            let key = nanoid::nanoid!(24);
            assert_eq!(weakness(&key), None, "{key}");
        }
    }
}
