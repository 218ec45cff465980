//! What others call the parts of a link. Fields that have no counterpart here are left out.

use super::fields::Fields;
use super::rows::Row;
use crate::domain::{History, LinkDraft};

/// Names that Bitly's exports have had for the same column, as letters and digits alone.
const BITLY_SHORT: [&str; 5] = ["link", "bitlink", "shorturl", "shortlink", "id"];
const BITLY_LONG: [&str; 5] = [
    "longurl",
    "destinationurl",
    "destination",
    "longlink",
    "originalurl",
];
const BITLY_CUSTOM: [&str; 4] = ["customlink", "custombitlink", "custombitlinks", "customlinks"];
const BITLY_CREATED: [&str; 5] = [
    "createdat",
    "created",
    "datecreated",
    "createddate",
    "creationdate",
];
const BITLY_CLICKS: [&str; 5] = [
    "clicks",
    "totalclicks",
    "engagements",
    "totalengagements",
    "linkclicks",
];

/// Whether these columns are Bitly's.
pub(super) fn is_bitly(columns: &[String]) -> bool {
    let has = |names: &[&str]| columns.iter().any(|column| names.contains(&column.as_str()));
    has(&BITLY_LONG) && (has(&BITLY_SHORT) || has(&BITLY_CUSTOM))
}

/// What stands behind the host of a short URL, or behind `base` if the URL begins with that: a slug if it is one segment.
/// Nothing of it is left out, so that several segments are refused as what they are.
fn slug_of(short_url: &str, base: Option<&str>) -> String {
    let url = short_url.trim().split(['?', '#']).next().unwrap_or_default();
    let rest = without_scheme(url);
    let path = match (base.and_then(|base| behind(rest, base)), rest.split_once('/')) {
        (Some(path), _) | (None, Some((_, path))) => path,
        // A code by itself, or a host by itself.
        (None, None) if rest.len() == url.len() && !rest.contains('.') => rest,
        (None, None) => "",
    };
    path.trim_matches('/').to_owned()
}

fn behind<'a>(url: &'a str, base: &str) -> Option<&'a str> {
    let base = without_scheme(base).trim_end_matches('/');
    let (start, rest) = url.split_at_checked(base.len())?;
    let path = rest.strip_prefix('/')?;
    start.eq_ignore_ascii_case(base).then_some(path)
}

fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// The slug in a short URL. A URL of the host alone has none.
fn slug_in(fields: &mut Fields, name: &str, short_url: &str, base: Option<&str>) -> Option<String> {
    let slug = slug_of(short_url, base);
    if slug.is_empty() {
        fields.trouble(name, "missing", "the short URL has no slug behind its host");
        return None;
    }
    Some(slug)
}

/// The host of a short URL, with or without a scheme before it.
fn host_of(short_url: &str) -> &str {
    without_scheme(short_url).split('/').next().unwrap_or_default()
}

/// YOURLS: `stats` and `url-stats` of its API, and the columns of its table.
pub(super) fn yourls(fields: &mut Fields, base: Option<&str>) -> Row {
    let slug = match fields.text("keyword") {
        Some(keyword) => Some(keyword),
        None => fields
            .required("shorturl")
            .and_then(|url| slug_in(fields, "shorturl", &url, base)),
    };
    Row {
        draft: LinkDraft {
            slug,
            url: fields.required("url").unwrap_or_default(),
            title: title(fields, "title"),
            ..LinkDraft::default()
        },
        history: History {
            created_at: fields.time("timestamp"),
            updated_at: None,
            clicks: fields.integer("clicks"),
        },
        ..Row::default()
    }
}

/// Shlink: the list of short URLs of its API, and its web client's table.
pub(super) fn shlink(fields: &mut Fields, base: Option<&str>) -> Row {
    let slug = match fields.text("shortCode").or_else(|| fields.text("shortcode")) {
        Some(code) => Some(code),
        None => {
            let url = fields.text("shortUrl").or_else(|| fields.text("shorturl"));
            if url.is_none() {
                fields.trouble("shortCode", "missing", "a link needs this");
            }
            url.and_then(|url| slug_in(fields, "shortUrl", &url, base))
        }
    };
    let url = match fields.text("longurl") {
        Some(url) => Some(url),
        None => fields.required("longUrl"),
    };
    let mut limits = fields.inner("meta");
    let mut visits = fields.inner("visitsSummary");
    // Its total counts bots, as ours does not.
    let clicks = visits.integer("nonBots").or_else(|| visits.integer("total"));
    let row = Row {
        draft: LinkDraft {
            slug,
            url: url.unwrap_or_default(),
            title: title(fields, "title"),
            tags: fields.texts("tags", '|').unwrap_or_default(),
            forward_query: fields.flag("forwardQuery").unwrap_or_default(),
            valid_from: limits.time("validSince"),
            expires_at: limits.time("validUntil"),
            max_clicks: limits.integer("maxVisits"),
            ..LinkDraft::default()
        },
        history: History {
            created_at: fields.time("dateCreated").or_else(|| fields.time("createdat")),
            updated_at: None,
            clicks: clicks
                .or_else(|| fields.integer("visitsCount"))
                .or_else(|| fields.integer("visits")),
        },
        ..Row::default()
    };
    if fields.flag("hasRedirectRules") == Some(true) {
        let detail = "the link has redirect rules, which would be lost: make it by hand";
        fields.trouble("hasRedirectRules", "not_supported", detail);
    }
    fields.absorb(limits);
    fields.absorb(visits);
    row
}

/// Kutt: the list of links of its API.
pub(super) fn kutt(fields: &mut Fields) -> Row {
    let row = Row {
        draft: LinkDraft {
            slug: fields.required("address"),
            url: fields.required("target").unwrap_or_default(),
            title: title(fields, "description"),
            expires_at: fields.time("expire_in"),
            ..LinkDraft::default()
        },
        disabled: fields.flag("banned").unwrap_or_default(),
        history: History {
            created_at: fields.time("created_at"),
            updated_at: fields.time("updated_at"),
            clicks: fields.integer("visit_count"),
        },
        ..Row::default()
    };
    if fields.flag("password") == Some(true) {
        let detail = "the link is protected by a password, and would be open here";
        fields.trouble("password", "not_supported", detail);
    }
    row
}

/// Bitly: its CSV. A link with a custom name answers to both of its names, so it becomes two where both are of one
/// host; the clicks are the first one's.
pub(super) fn bitly(fields: &mut Fields, base: Option<&str>) -> Vec<Row> {
    let mut first = |names: &[&str]| names.iter().find_map(|name| fields.text(name));
    let (custom, short) = (first(&BITLY_CUSTOM), first(&BITLY_SHORT));
    let url = first(&BITLY_LONG);
    if url.is_none() {
        fields.trouble("long_url", "missing", "a link needs this");
    }
    let custom = custom.filter(|links| !links.trim_matches(['[', ']', ' ']).is_empty());
    let customs: Vec<String> = custom
        .iter()
        .flat_map(|links| links.split([',', ';', '|', ' ']))
        .map(|link| link.trim_matches(['[', ']', '"', '\'']).to_owned())
        .filter(|link| !link.is_empty())
        .collect();
    let mut names: Vec<String> = Vec::new();
    for link in customs.iter().chain(&short) {
        let same_host = customs
            .first()
            .is_none_or(|custom| host_of(custom) == host_of(link));
        if same_host
            && let Some(slug) = slug_in(fields, "link", link, base)
            && !names.contains(&slug)
        {
            names.push(slug);
        }
    }
    if customs.is_empty() && short.is_none() {
        fields.trouble("link", "missing", "a link needs this");
    }
    if names.is_empty() {
        names.push(String::new());
    }
    let created_at = BITLY_CREATED.iter().find_map(|name| fields.time(name));
    let clicks = BITLY_CLICKS.iter().find_map(|name| fields.integer(name));
    let (title, tags) = (
        title(fields, "title"),
        fields.texts("tags", ',').unwrap_or_default(),
    );
    let row = |(at, slug): (usize, String)| Row {
        draft: LinkDraft {
            slug: Some(slug),
            url: url.clone().unwrap_or_default(),
            title: title.clone(),
            tags: tags.clone(),
            ..LinkDraft::default()
        },
        history: History {
            created_at,
            updated_at: None,
            clicks: if at == 0 { clicks } else { None },
        },
        ..Row::default()
    };
    names.into_iter().enumerate().map(row).collect()
}

/// A title that is not empty.
fn title(fields: &mut Fields, name: &str) -> Option<String> {
    fields.text(name).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::slug_of;

    /// The last segment was taken, so that `/promo/spring` became `/spring`.
    #[test]
    fn a_short_url_has_its_slug_behind_the_host_or_behind_the_base() {
        for (url, slug) in [
            ("https://go.acme.example/spring", "spring"),
            ("http://bit.ly/3xYz?x=1#y", "3xYz"),
            ("bit.ly/3xYz/", "3xYz"),
            ("code", "code"),
            ("https://go.acme.example/promo/spring", "promo/spring"),
            ("https://go.acme.example", ""),
            ("https://go.acme.example/", ""),
            ("http://go/", ""),
            ("http://go", ""),
            ("go.acme.example", ""),
        ] {
            assert_eq!(slug_of(url, None), slug, "{url}");
        }
        let base = Some("https://Example.com/s/");
        for (url, slug) in [
            ("https://example.com/s/abc", "abc"),
            ("http://example.com/s/abc/", "abc"),
            ("https://example.com/s/", ""),
            ("https://example.com/s/a/b", "a/b"),
            ("https://example.com/sabc", "sabc"),
            ("https://other.example/abc", "abc"),
        ] {
            assert_eq!(slug_of(url, base), slug, "{url}");
        }
    }
}
