//! What visitors read, in their language: a file for each, and a text that is missing in one does not compile.

mod de;
mod en;
mod es;
mod fr;

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::header;

/// Every text of the pages for visitors.
#[derive(Debug)]
pub(super) struct Words {
    /// The language's tag.
    pub(super) tag: &'static str,
    /// Nothing is here: title and text.
    pub(super) not_found: [&'static str; 2],
    /// The title of a link that is gone.
    pub(super) gone: &'static str,
    /// Its time is over.
    pub(super) expired: &'static str,
    /// It was used as often as it may be.
    pub(super) limit: &'static str,
    /// It was taken down.
    pub(super) disabled: &'static str,
    /// The service cannot answer now: title and text.
    pub(super) unavailable: [&'static str; 2],
    /// Too many requests: title and text.
    pub(super) busy: [&'static str; 2],
    /// Stands before the request's id.
    pub(super) request: &'static str,
    /// The preview's title.
    pub(super) preview: &'static str,
    /// Stands before the short address.
    pub(super) short: &'static str,
    /// Stands before the target.
    pub(super) target: &'static str,
    /// Stands before the target's host.
    pub(super) host: &'static str,
    /// Stands before the host in its own script.
    pub(super) reads_as: &'static str,
    /// Stands before the day of creation.
    pub(super) created: &'static str,
    /// The link to the target.
    pub(super) proceed: &'static str,
    /// What the preview is.
    pub(super) preview_note: &'static str,
}

const ALL: [&Words; 4] = [&en::WORDS, &de::WORDS, &fr::WORDS, &es::WORDS];

/// The language of ours that the visitor likes best: RFC 9110, section 12.5.4; English if none.
pub(super) fn of(request: &HttpRequest) -> &'static Words {
    let wanted = request.headers().get(header::ACCEPT_LANGUAGE);
    choose(&wanted.map_or(Cow::Borrowed(""), |value| {
        String::from_utf8_lossy(value.as_bytes())
    }))
}

fn choose(accept: &str) -> &'static Words {
    let mut best: (&'static Words, f32) = (&en::WORDS, 0.0);
    // More than anybody sets: what comes behind is not worth the time.
    for range in accept.split(',').take(16) {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim();
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        let weight = parts
            .find_map(|part| part.trim().strip_prefix("q="))
            .map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
        let words = ALL.iter().find(|words| words.tag.eq_ignore_ascii_case(primary));
        if let Some(words) = words
            && weight > best.1
        {
            best = (words, weight);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn the_language_with_the_highest_weight_is_chosen() {
        for (accept, tag) in [
            ("", "en"),
            ("de-CH,de;q=0.9,en;q=0.8", "de"),
            ("en;q=0.5, FR;q=0.7", "fr"),
            ("it,es;q=0.3", "es"),
            ("*", "en"),
            ("de;q=0", "en"),
            ("de;q=x,es;q=0.1", "es"),
            ("ja", "en"),
        ] {
            assert_eq!(choose(accept).tag, tag, "{accept}");
        }
    }
}
