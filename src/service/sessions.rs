//! Who is signed in: kept by the browser in a sealed cookie, so that every instance knows it and none stores it.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::FleetSecret;
use crate::domain::Clock;
use crate::store::KeyHash;

/// How long somebody stays signed in.
const LIFETIME: SignedDuration = SignedDuration::from_hours(12);

/// The first byte of what is sealed: the form of the rest.
const FORM: u8 = 1;

/// What a cookie said.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// The hash of the key that was shown; `None` if none was.
    pub(super) key: Option<KeyHash>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed_in = self.key.is_some();
        f.debug_struct("Session").field("signed_in", &signed_in).finish()
    }
}

impl Session {
    /// Somebody without a key.
    pub const NOBODY: Self = Self { key: None };

    /// Whether a key was shown.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }
}

/// Seals and opens cookies.
pub struct Sessions {
    seal: LessSafeKey,
    tokens: hmac::Key,
    random: SystemRandom,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl Sessions {
    /// Sessions under a secret. All instances that share it accept them.
    #[must_use]
    pub fn new(secret: &FleetSecret, clock: Arc<dyn Clock>) -> Self {
        let seal = secret.key("curtail session cookie");
        let tokens = secret.key("curtail form token");
        let seal =
            UnboundKey::new(&AES_256_GCM, seal.as_ref()).expect("SHA-256 is as long as a key of AES-256");
        Self {
            seal: LessSafeKey::new(seal),
            tokens: hmac::Key::new(hmac::HMAC_SHA256, tokens.as_ref()),
            random: SystemRandom::new(),
            clock,
        }
    }

    /// A cookie that says `session` until its time is over; `None` if the system has no random numbers.
    #[must_use]
    pub fn seal(&self, session: &Session) -> Option<String> {
        let ends = self.clock.now().checked_add(LIFETIME).ok()?;
        let mut sealed = vec![FORM];
        sealed.extend(ends.as_second().to_be_bytes());
        sealed.extend(session.key.iter().flatten());
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        self.seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .ok()?;
        Some(hex(nonce.iter().chain(&sealed)))
    }

    /// What a cookie says; `None` if it is not one of ours, or its time is over.
    #[must_use]
    pub fn open(&self, cookie: &str) -> Option<Session> {
        let mut bytes = unhex(cookie)?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.seal.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        let (form, rest) = plain.split_first()?;
        let (ends, key) = rest.split_at_checked(8)?;
        let ends = Timestamp::from_second(i64::from_be_bytes(ends.try_into().ok()?)).ok()?;
        if *form != FORM || self.clock.now() >= ends {
            return None;
        }
        let key = match key {
            [] => None,
            key => Some(key.try_into().ok()?),
        };
        Some(Session { key })
    }

    /// What a form must carry that was sent to the holder of `cookie`.
    #[must_use]
    pub fn token(&self, cookie: &str) -> String {
        hex(hmac::sign(&self.tokens, cookie.as_bytes()).as_ref())
    }

    /// Whether `token` belongs to `cookie`.
    #[must_use]
    pub fn is_token(&self, cookie: &str, token: &str) -> bool {
        unhex(token).is_some_and(|token| hmac::verify(&self.tokens, cookie.as_bytes(), &token).is_ok())
    }
}

fn hex<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> String {
    bytes.into_iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for; more than any of ours are none.
fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() > 512 || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(&pair[0])? * 16 + digit(&pair[1])?).ok())
        .collect()
}
