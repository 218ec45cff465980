//! What a redirect hands over: bounded copies, parsed later.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::domain::{Revision, Slug};

/// The most bytes of each header that are looked at.
const AGENT: usize = 512;
const REFERRER: usize = 512;
const LANGUAGE: usize = 32;
const COUNTRY: usize = 8;

/// What a request shows of its sender. Nothing of it is kept longer than until its batch is stored.
#[derive(Debug, Clone, Default)]
pub struct Seen<'a> {
    /// `User-Agent`
    pub agent: Cow<'a, str>,
    /// `Referer`
    pub referrer: Cow<'a, str>,
    /// `Accept-Language`
    pub language: Cow<'a, str>,
    /// The header that names the country.
    pub country: Cow<'a, str>,
    /// The client's address, as far as it is known.
    pub address: Option<IpAddr>,
    /// Whether the browser fetches ahead, before anybody clicked.
    pub prefetch: bool,
    /// Whether the address was read from a QR code.
    pub scan: bool,
}

/// A click before it is parsed: one piece of memory for all its texts.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) at: Timestamp,
    pub(super) slug: Slug,
    pub(super) revision: Revision,
    pub(super) counted: bool,
    pub(super) prefetch: bool,
    pub(super) scan: bool,
    pub(super) address: Option<IpAddr>,
    texts: Box<str>,
    /// Where each text but the last ends.
    ends: [u16; 3],
}

impl Seen<'_> {
    /// The user agent, as far as it is looked at.
    pub(super) fn user_agent(&self) -> &str {
        cut(&self.agent, AGENT)
    }

    pub(super) fn pending(&self, slug: &Slug, revision: Revision, counted: bool, at: Timestamp) -> Pending {
        let parts = [
            self.user_agent(),
            cut(&self.referrer, REFERRER),
            cut(&self.language, LANGUAGE),
            cut(&self.country, COUNTRY),
        ];
        let mut ends = [0; 3];
        let mut end = 0;
        for (slot, part) in ends.iter_mut().zip(parts) {
            end += part.len();
            // All bounds together are far below the type's.
            *slot = u16::try_from(end).unwrap_or(u16::MAX);
        }
        Pending {
            at,
            slug: slug.clone(),
            revision,
            counted,
            prefetch: self.prefetch,
            scan: self.scan,
            address: self.address,
            texts: parts.concat().into_boxed_str(),
            ends,
        }
    }
}

impl Pending {
    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.texts.len()
    }

    /// Whether the other differs in nothing but its time.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        (&self.slug, self.revision) == (&other.slug, other.revision)
            && (self.counted, self.prefetch, self.scan) == (other.counted, other.prefetch, other.scan)
            && self.address == other.address
            && self.has_texts_of(other)
    }

    /// Whether both have the same headers.
    pub(super) fn has_texts_of(&self, other: &Self) -> bool {
        self.ends == other.ends && self.texts == other.texts
    }

    pub(super) fn agent(&self) -> &str {
        &self.texts[..usize::from(self.ends[0])]
    }

    pub(super) fn referrer(&self) -> &str {
        &self.texts[usize::from(self.ends[0])..usize::from(self.ends[1])]
    }

    pub(super) fn language(&self) -> &str {
        &self.texts[usize::from(self.ends[1])..usize::from(self.ends[2])]
    }

    pub(super) fn country(&self) -> &str {
        &self.texts[usize::from(self.ends[2])..]
    }
}

/// The first `most` bytes of `text`, or a little less where a character would be cut.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::{Seen, cut};
    use crate::domain::Revision;

    #[test]
    fn each_text_is_found_again_and_bounded() {
        let long = "é".repeat(1000);
        let seen = Seen {
            agent: long.into(),
            referrer: "https://a.example/".into(),
            language: "de-CH".into(),
            country: "CH".into(),
            ..Seen::default()
        };

        let pending = seen.pending(
            &"abc".parse().unwrap(),
            Revision::new(1),
            false,
            jiff::Timestamp::UNIX_EPOCH,
        );

        assert_eq!(pending.agent().len(), 512);
        assert_eq!(pending.referrer(), "https://a.example/");
        assert_eq!(pending.language(), "de-CH");
        assert_eq!(pending.country(), "CH");
        assert_eq!(cut("aé", 2), "a");
    }
}
