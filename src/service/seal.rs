//! The cookie of a session: AES-256-GCM over what it says, in hexadecimal digits.

use jiff::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use sha2::{Digest, Sha256};

use super::random;
use crate::store::{KeyHash, SessionHash, SharedSecret};

/// The first byte of what is sealed: the version of the layout.
const LAYOUT: u8 = 2;

/// The bytes of a session's id: 128 random bits.
pub(super) const ID_LEN: usize = 16;

const KEY_LEN: usize = 32;
const TIME_LEN: usize = 8;
const TAG_LEN: usize = 16;

/// The bytes of a sealed cookie.
const SEALED_LEN: usize = NONCE_LEN + 1 + TIME_LEN + KEY_LEN + ID_LEN + TAG_LEN;

/// What a cookie says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    /// When the session ends.
    pub(super) expires_at: Timestamp,
    /// SHA-256 of the key that opened it.
    pub(super) key: KeyHash,
    /// The session's id, which is stored nowhere else.
    pub(super) id: [u8; ID_LEN],
}

impl Content {
    /// The hash of the id, by which the store knows the session.
    pub(super) fn hash(&self) -> SessionHash {
        Sha256::digest(self.id).into()
    }
}

/// Seals and opens cookies under one secret.
pub(super) struct Seal {
    cookies: LessSafeKey,
    tokens: hmac::Key,
}

impl Seal {
    /// The seal of `secret`.
    pub(super) fn new(secret: &SharedSecret) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let cookies = hmac::sign(&root, b"curtail session cookie");
        let tokens = hmac::sign(&root, b"curtail form token");
        let cookies =
            UnboundKey::new(&AES_256_GCM, cookies.as_ref()).expect("SHA-256 is as long as a key of AES-256");
        Self {
            cookies: LessSafeKey::new(cookies),
            tokens: hmac::Key::new(hmac::HMAC_SHA256, tokens.as_ref()),
        }
    }

    /// The cookie that says `content`.
    pub(super) fn seal(&self, content: &Content) -> String {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut sealed = vec![LAYOUT];
        sealed.extend(content.expires_at.as_second().to_be_bytes());
        sealed.extend(content.key);
        sealed.extend(content.id);
        self.cookies
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .expect("a cookie is shorter than what AES-GCM can seal");
        hex(nonce.iter().chain(&sealed))
    }

    /// The bytes of a cookie; `None` if its form is not that of one.
    pub(super) fn read(cookie: &str) -> Option<[u8; SEALED_LEN]> {
        unhex(cookie)
    }

    /// What a cookie says; `None` if it was not sealed under this secret.
    pub(super) fn open(&self, mut sealed: [u8; SEALED_LEN]) -> Option<Content> {
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.cookies.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        let (layout, rest) = plain.split_first()?;
        let (time, rest) = rest.split_first_chunk::<TIME_LEN>()?;
        let (key, id) = rest.split_first_chunk::<KEY_LEN>()?;
        if *layout != LAYOUT {
            return None;
        }
        Some(Content {
            expires_at: Timestamp::from_second(i64::from_be_bytes(*time)).ok()?,
            key: *key,
            id: id.try_into().ok()?,
        })
    }

    /// What the forms of the session with this cookie carry.
    pub(super) fn token(&self, cookie: &str) -> String {
        hex(hmac::sign(&self.tokens, cookie.as_bytes()).as_ref())
    }

    /// The key of the tokens.
    pub(super) fn tokens(&self) -> hmac::Key {
        self.tokens.clone()
    }

    /// Whether `token` belongs to `cookie`, compared in constant time.
    pub(super) fn is_token(tokens: &hmac::Key, cookie: &str, token: &str) -> bool {
        let token: Option<[u8; 32]> = unhex(token);
        token.is_some_and(|token| hmac::verify(tokens, cookie.as_bytes(), &token).is_ok())
    }
}

fn hex<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> String {
    bytes.into_iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The `N` bytes that as many pairs of hexadecimal digits stand for.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::try_from(digit(&pair[0])? * 16 + digit(&pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{Content, Seal};

    const CONTENT: Content = Content {
        expires_at: Timestamp::UNIX_EPOCH,
        key: [7; 32],
        id: [9; 16],
    };

    fn opened(seal: &Seal, cookie: &str) -> bool {
        Seal::read(cookie).and_then(|sealed| seal.open(sealed)) == Some(CONTENT)
    }

    #[test]
    fn a_cookie_opens_under_its_secret_alone_and_as_it_was_sealed() {
        let (seal, other) = (Seal::new(&[1; 32]), Seal::new(&[2; 32]));

        let cookie = seal.seal(&CONTENT);

        assert!(opened(&seal, &cookie));
        assert!(!opened(&other, &cookie));
        assert_ne!(cookie, seal.seal(&CONTENT));
        for at in 0..cookie.len() {
            let digit = if &cookie[at..=at] == "0" { "1" } else { "0" };
            let changed = format!("{}{digit}{}", &cookie[..at], &cookie[at + 1..]);
            assert!(!opened(&seal, &changed), "{at}");
        }
        for wrong in [
            "",
            "00",
            &cookie[2..],
            &format!("{cookie}00"),
            &"ä".repeat(cookie.len() / 2),
        ] {
            assert!(!opened(&seal, wrong), "{wrong}");
        }
    }

    #[test]
    fn a_token_belongs_to_one_cookie_under_one_secret() {
        let (seal, other) = (Seal::new(&[1; 32]), Seal::new(&[2; 32]));
        let token = seal.token("cookie");

        assert!(Seal::is_token(&seal.tokens(), "cookie", &token));
        assert!(!Seal::is_token(&seal.tokens(), "other", &token));
        assert!(!Seal::is_token(&other.tokens(), "cookie", &token));
        assert!(!Seal::is_token(&seal.tokens(), "cookie", ""));
    }
}
