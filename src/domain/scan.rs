//! The mark by which a scan of a QR code is told from other clicks.

use std::borrow::Cow;

/// The query of the address in a QR code.
pub const SCAN_MARK: &str = "qr";

/// Some programs write a name without a value so.
const SCAN_MARK_SPELT_OUT: &str = "qr=";

/// Whether a query string (without its question mark) carries the mark.
#[must_use]
pub fn is_scan(query: &str) -> bool {
    !query.is_empty() && query.split('&').any(is_mark)
}

/// The query string without the mark: no target gets to see it.
#[must_use]
pub fn without_scan_mark(query: &str) -> Cow<'_, str> {
    if !is_scan(query) {
        return Cow::Borrowed(query);
    }
    let rest: Vec<&str> = query.split('&').filter(|part| !is_mark(part)).collect();
    Cow::Owned(rest.join("&"))
}

fn is_mark(part: &str) -> bool {
    part == SCAN_MARK || part == SCAN_MARK_SPELT_OUT
}

#[cfg(test)]
mod tests {
    use super::{is_scan, without_scan_mark};

    #[test]
    fn the_mark_is_found_and_taken_out() {
        for (query, scan, rest) in [
            ("", false, ""),
            ("qr", true, ""),
            ("qr=", true, ""),
            ("a=1&qr&b=2", true, "a=1&b=2"),
            ("qr=5", false, "qr=5"),
            ("aqr&qrb", false, "aqr&qrb"),
            ("&&", false, "&&"),
        ] {
            assert_eq!(is_scan(query), scan, "{query}");
            assert_eq!(without_scan_mark(query), rest, "{query}");
        }
    }
}
