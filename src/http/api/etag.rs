//! The entity tag of a link, and the conditions of requests (RFC 9110, section 13).
//!
//! A tag has two parts, the link's revision and its clicks: `"64cf3a1b2c3d4-1f"`. `If-None-Match` compares both, so that an
//! answer that shows clicks is not taken for fresh when they have changed. `If-Match` compares the revision alone, so that a
//! click does not keep a client from changing a link. Both take the weak form of a tag, as proxies that compress write it.

use actix_web::HttpRequest;
use actix_web::http::header::{self, EntityTag};

use crate::domain::{Link, Revision};
use crate::service::Expected;

/// The description of the header in the OpenAPI document.
pub(super) const ABOUT: &str = "The state of the link, for `If-Match` and `If-None-Match`.";

/// The description of the condition there.
pub(super) const ABOUT_IF_MATCH: &str = "The `ETag` of the link as the client read it: 412 `stale` if the link was changed after that. Clicks are no change.";

/// The entity tag of `link`.
pub(super) fn of(link: &Link) -> EntityTag {
    EntityTag::new_strong(format!("{:x}-{:x}", link.revision.get(), link.clicks))
}

/// The revisions that `If-Match` admits. A tag that is not one of a link admits none.
pub(super) fn expected(request: &HttpRequest) -> Expected {
    if !request.headers().contains_key(header::IF_MATCH) {
        return Expected::Any;
    }
    let tags = tags(request);
    if tags.contains(&"*") {
        return Expected::Any;
    }
    let revision = |tag: &&str| {
        let (revision, _) = strong(tag)
            .strip_prefix('"')?
            .strip_suffix('"')?
            .split_once('-')?;
        i64::from_str_radix(revision, 16).ok().map(Revision::new)
    };
    Expected::OneOf(tags.iter().filter_map(revision).collect())
}

/// The tags of `If-Match`, which hold no commas if they are of this service.
fn tags(request: &HttpRequest) -> Vec<&str> {
    let lines = request.headers().get_all(header::IF_MATCH);
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect()
}

fn strong(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::expected;
    use crate::domain::Revision;
    use crate::service::Expected;

    #[test]
    fn if_match_names_revisions() {
        let rows: [(&[&str], Expected); 7] = [
            (&[], Expected::Any),
            (&["*"], Expected::Any),
            (&["\"1f-0\""], Expected::OneOf(vec![Revision::new(31)])),
            (&["W/\"1f-9\""], Expected::OneOf(vec![Revision::new(31)])),
            (
                &["\"1f-0\", \"20-0\"", "\"21-5\""],
                Expected::OneOf([31, 32, 33].map(Revision::new).to_vec()),
            ),
            (&[""], Expected::OneOf(Vec::new())),
            (&["1f-0, \"x\", \"zz-0\""], Expected::OneOf(Vec::new())),
        ];
        for (lines, wanted) in rows {
            let mut request = TestRequest::default();
            for line in lines {
                request = request.append_header(("if-match", *line));
            }
            assert_eq!(expected(&request.to_http_request()), wanted, "{lines:?}");
        }
    }
}
