//! A click as it is kept: families, hosts and tags, and nothing that names a person.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use url::Url;

use super::{Revision, Slug};

/// One answered redirect, or several that are alike in all that is kept of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Click {
    /// How many.
    pub number: u32,
    /// When: the first of them.
    pub at: Timestamp,
    /// Which link.
    pub slug: Slug,
    /// The revision at which it redirected. A link that was created under the slug later is another one.
    pub revision: Revision,
    /// Whether no person clicked: a crawler, a link preview, a prefetch.
    pub bot: bool,
    /// Whether it came from a QR code.
    pub scan: bool,
    /// Whether the link's click limit has counted it into the link's total already.
    pub counted: bool,
    /// A hash that tells visitors of one link and one day apart; `None` for bots, and where it was given up. It is stored
    /// for a day, apart from the click.
    pub visitor: Option<i64>,
    /// The host that the visitor came from.
    pub referrer: Cow<'static, str>,
    /// Family of the browser.
    pub browser: &'static str,
    /// Family of the operating system.
    pub system: &'static str,
    /// Kind of the device.
    pub device: &'static str,
    /// Country, two letters; `None` if no header names it.
    pub country: Option<String>,
    /// Primary tag of the language that the visitor prefers.
    pub language: Cow<'static, str>,
}

/// Clicks that are stored together, once: a batch that comes again under its id is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickBatch {
    /// The batch's name.
    pub id: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// The clicks. Those of one slug have one revision.
    pub clicks: Vec<Click>,
}

impl ClickBatch {
    /// How many clicks it stands for.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.clicks.iter().map(|click| u64::from(click.number)).sum()
    }

    /// The links that were clicked, in the order of their slugs, each with the revision of its clicks.
    #[must_use]
    pub fn links(&self) -> BTreeMap<&Slug, Revision> {
        self.clicks
            .iter()
            .map(|click| (&click.slug, click.revision))
            .collect()
    }
}

/// What clicks are sorted by in statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Host that the visitor came from.
    Referrer,
    /// Browser family.
    Browser,
    /// System family.
    System,
    /// Kind of device.
    Device,
    /// Country.
    Country,
    /// Language.
    Language,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 6] = [
        Self::Referrer,
        Self::Browser,
        Self::System,
        Self::Device,
        Self::Country,
        Self::Language,
    ];

    /// The most values of one link, day and dimension. The rest is [`Dimension::OTHER`].
    pub const MAX_VALUES: i64 = 100;

    /// What stands for the values beyond the bound.
    pub const OTHER: &'static str = "(other)";

    /// The number that the stores keep.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::Referrer => 1,
            Self::Browser => 2,
            Self::System => 3,
            Self::Device => 4,
            Self::Country => 5,
            Self::Language => 6,
        }
    }

    /// The dimension of a number.
    #[must_use]
    pub fn of_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.code() == code)
    }
}

impl Click {
    /// The click's value of a dimension, if it has one.
    #[must_use]
    pub fn value(&self, dimension: Dimension) -> Option<&str> {
        match dimension {
            Dimension::Referrer => Some(&self.referrer),
            Dimension::Browser => Some(self.browser),
            Dimension::System => Some(self.system),
            Dimension::Device => Some(self.device),
            Dimension::Country => self.country.as_deref(),
            Dimension::Language => Some(&self.language),
        }
    }
}

/// The host of a `Referer` header. Nothing else of it is kept: a path may hold what is private.
#[must_use]
pub fn referrer(header: &str) -> Cow<'static, str> {
    const DIRECT: Cow<'static, str> = Cow::Borrowed("(direct)");
    if header.is_empty() {
        return DIRECT;
    }
    let Ok(url) = Url::parse(header) else {
        return DIRECT;
    };
    match url.host_str() {
        // Apps name themselves so: https://developer.android.com/reference/android/app/Activity#getReferrer()
        Some(host) if matches!(url.scheme(), "http" | "https" | "android-app") && host.len() <= 253 => {
            Cow::Owned(host.trim_end_matches('.').to_ascii_lowercase())
        }
        _ => DIRECT,
    }
}

/// The primary tag of the first language of an `Accept-Language` header (RFC 9110, section 12.5.4).
#[must_use]
pub fn language(header: &str) -> Cow<'static, str> {
    let tag = header
        .split([',', ';', '-', '_'])
        .next()
        .unwrap_or_default()
        .trim();
    if (2..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphabetic()) {
        Cow::Owned(tag.to_ascii_lowercase())
    } else {
        Cow::Borrowed("(unknown)")
    }
}

/// A country as a load balancer names it: ISO 3166, two characters.
#[must_use]
pub fn country(header: &str) -> Option<String> {
    let code = header.trim();
    let plain = code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| code.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::{country, language, referrer};

    #[test]
    fn of_a_referrer_only_the_host_is_kept() {
        assert_eq!(referrer("https://News.Example:8443/secret?q=1#x"), "news.example");
        assert_eq!(referrer("android-app://com.example.mail/"), "com.example.mail");
        assert_eq!(referrer("https://bücher.example/"), "xn--bcher-kva.example");
        for none in [
            "",
            "about:blank",
            "file:///etc/passwd",
            "nonsense",
            "javascript:1",
            "data:,x",
        ] {
            assert_eq!(referrer(none), "(direct)", "{none}");
        }
        let long = format!("https://{}.example/", "a".repeat(400));
        assert!(referrer(&long).len() <= 253);
    }

    #[test]
    fn of_a_language_only_the_primary_tag_is_kept() {
        assert_eq!(language("en-GB,en;q=0.9"), "en");
        assert_eq!(language("DE"), "de");
        assert_eq!(language("gsw;q=0.5"), "gsw");
        for none in ["", "*", "x", "123", "é", "averyverylongtag"] {
            assert_eq!(language(none), "(unknown)", "{none}");
        }
    }

    #[test]
    fn a_country_has_two_characters() {
        assert_eq!(country("ch").as_deref(), Some("CH"));
        assert_eq!(country(" T1 ").as_deref(), Some("T1"));
        for none in ["", "C", "CHE", "é", "--"] {
            assert_eq!(country(none), None, "{none}");
        }
    }
}
