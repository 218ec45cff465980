//! Cells of tables: a spreadsheet shall not take a text for a formula, and it writes truth and numbers in its own way.

use std::borrow::Cow;

/// What a formula begins with in a spreadsheet: <https://owasp.org/www-community/attacks/CSV_Injection>. The apostrophe is
/// among them so that what is guarded can be told from what began with one.
const GUARDED: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];

/// The text with an apostrophe before it, if it could be taken for a formula.
pub(super) fn guarded(text: &str) -> Cow<'_, str> {
    if text.starts_with(GUARDED) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The text that was guarded.
pub(super) fn unguarded(text: String) -> String {
    match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(GUARDED) => rest.to_owned(),
        _ => text,
    }
}

/// How spreadsheets and databases write truth; the first ones in the languages of the pages, as Excel does.
const TRUE: [&str; 8] = ["true", "wahr", "vrai", "verdadero", "yes", "y", "t", "on"];
const FALSE: [&str; 8] = ["false", "falsch", "faux", "falso", "no", "n", "f", "off"];

/// What separates groups of three digits.
const GROUPS: [char; 5] = [',', '\'', ' ', '\u{a0}', '\u{202f}'];

/// Yes or no, in any case.
pub(super) fn flag(text: &str) -> Option<bool> {
    let word = text.trim().to_lowercase();
    match whole(&word) {
        Some(0) => Some(false),
        Some(1) => Some(true),
        _ if TRUE.contains(&word.as_str()) => Some(true),
        _ if FALSE.contains(&word.as_str()) => Some(false),
        _ => None,
    }
}

/// A whole number, also as `12.0` and with groups of digits, such as `1,234`.
pub(super) fn whole(text: &str) -> Option<i64> {
    let text = text.trim();
    let text = text
        .strip_suffix(".0")
        .or_else(|| text.strip_suffix(".00"))
        .unwrap_or(text);
    text.parse().ok().or_else(|| grouped(text)?.parse().ok())
}

fn grouped(text: &str) -> Option<String> {
    let separator = text.chars().find(|c| GROUPS.contains(c))?;
    let mut groups = text.split(separator);
    let first = groups.next()?;
    let digits = first.trim_start_matches(['-', '+']);
    let is_group = |group: &str| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = (1..=3).contains(&digits.len()) && groups.clone().all(is_group);
    is_number.then(|| groups.fold(first.to_owned(), |number, group| number + group))
}

#[cfg(test)]
mod tests {
    use super::{flag, guarded, unguarded, whole};

    #[test]
    fn truth_is_read_as_spreadsheets_and_databases_write_it() {
        for yes in [
            "true",
            "TRUE",
            "True",
            " yes ",
            "1",
            "1.0",
            "t",
            "WAHR",
            "VRAI",
            "Verdadero",
            "on",
        ] {
            assert_eq!(flag(yes), Some(true), "{yes}");
        }
        for no in [
            "false", "FALSE", "False", "No", "0", "0.0", "f", "FALSCH", "FAUX", "FALSO", "off",
        ] {
            assert_eq!(flag(no), Some(false), "{no}");
        }
        for neither in ["", "2", "-1", "maybe", "truee", "nil"] {
            assert_eq!(flag(neither), None, "{neither}");
        }
    }

    #[test]
    fn whole_numbers_are_read_as_spreadsheets_write_them() {
        for (text, number) in [
            ("12", 12),
            (" 12 ", 12),
            ("-3", -3),
            ("+3", 3),
            ("12.0", 12),
            ("12.00", 12),
            ("1,234", 1234),
            ("12,345,678", 12_345_678),
            ("-1,234", -1234),
            ("1'234", 1234),
            ("1\u{a0}234", 1234),
            ("1,234.0", 1234),
        ] {
            assert_eq!(whole(text), Some(number), "{text}");
        }
        // What may be a part of one in some country, or has lost digits, is no whole number.
        for none in [
            "",
            "x",
            "12.5",
            "1.234",
            "1.000",
            "12,0",
            "1,23",
            "1,2345",
            "1234,567",
            "1,234 567",
            "1E+05",
            ",123",
            "1,",
        ] {
            assert_eq!(whole(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_guarded_comes_back() {
        for text in [
            "=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=x", "''", "'", "'tis", "plain", "",
        ] {
            let cell = guarded(text).into_owned();

            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?}");
            assert_eq!(unguarded(cell), text);
        }
        assert_eq!(guarded("plain"), "plain");
        assert_eq!(
            unguarded("'tis written by hand".to_owned()),
            "'tis written by hand"
        );
    }
}
