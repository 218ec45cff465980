//! Texts in the cells of our own tables: a spreadsheet shall not take one for a formula.

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

#[cfg(test)]
mod tests {
    use super::{guarded, unguarded};

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
