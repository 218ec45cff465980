//! Which form of an answer a client prefers: the header `Accept` of RFC 9110, section 12.5.1.

use std::cmp::Reverse;

use actix_web::HttpRequest;
use actix_web::http::header::{Accept, Header, Quality, QualityItem};
use actix_web::mime::Mime;

/// Ranges that are read; clients send fewer.
const MAX_RANGES: usize = 32;

/// The place of the offer that the client prefers, `0` where it says nothing, and `None` where it accepts no offer.
///
/// Among offers of one weight, the one goes first whose range the client names first, and then the one that is offered first.
pub(super) fn preferred(request: &HttpRequest, offers: &[&str]) -> Option<usize> {
    match Accept::parse(request) {
        Ok(Accept(ranges)) if !ranges.is_empty() => best(&ranges, offers),
        _ => Some(0),
    }
}

fn best(ranges: &[QualityItem<Mime>], offers: &[&str]) -> Option<usize> {
    let judged = offers.iter().enumerate().filter_map(|(place, offer)| {
        // Of the ranges that fit an offer, the most specific decides on it: `text/html;q=0, */*` is all but HTML.
        let (named, range) = ranges
            .iter()
            .take(MAX_RANGES)
            .enumerate()
            .filter(|(_, range)| specificity(&range.item, offer) > 0)
            .max_by_key(|(named, range)| (specificity(&range.item, offer), Reverse(*named)))?;
        let weight = range.quality;
        (weight > Quality::ZERO).then_some((weight, named, place))
    });
    judged
        .max_by_key(|(weight, named, place)| (*weight, Reverse((*named, *place))))
        .map(|(.., place)| place)
}

/// 3 for the offer itself, 2 for its type, 1 for everything, and 0 for a range that does not fit.
fn specificity(range: &Mime, offer: &str) -> u8 {
    let kind = offer.split('/').next().unwrap_or_default();
    match (range.type_().as_str(), range.subtype().as_str()) {
        ("*", "*") => 1,
        (named, "*") if named == kind => 2,
        _ if range.essence_str() == offer => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::preferred;

    #[test]
    fn the_most_specific_range_decides_and_a_weight_of_zero_is_a_refusal() {
        const OFFERS: [&str; 3] = ["application/problem+json", "application/json", "text/html"];
        const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (accept, wanted) in [
            ("", Some(0)),
            ("*/*", Some(0)),
            (BROWSER, Some(2)),
            ("text/*", Some(2)),
            ("TEXT/HTML", Some(2)),
            ("text/html;q=0", None),
            ("text/html;q=0, */*", Some(0)),
            ("text/html;q=0.0, text/*;q=0.5, application/json;q=0.1", Some(1)),
            ("application/json, text/html", Some(1)),
            ("text/html, application/json", Some(2)),
            ("application/*;q=0.5, text/html;q=0.4", Some(0)),
            ("application/json, text/plain, */*", Some(1)),
            (
                "application/problem+json;q=0.2, text/html;q=0.1, image/png",
                Some(0),
            ),
            ("image/png", None),
            ("text/html;level=1", Some(2)),
            ("not a range", Some(0)),
        ] {
            let mut request = TestRequest::default();
            if !accept.is_empty() {
                request = request.insert_header(("Accept", accept));
            }
            assert_eq!(preferred(&request.to_http_request(), &OFFERS), wanted, "{accept}");
        }
    }
}
