//! How a table separates its columns, and what its header calls them.

/// What stands at the beginning of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialect {
    /// What separates columns.
    pub(super) delimiter: u8,
    /// The bytes before the header: blank lines, and the line `sep=;` that Excel reads.
    pub(super) before: usize,
    /// The header's line.
    header: String,
}

impl Dialect {
    /// Reads the beginning of a table. Spreadsheets of countries with a decimal comma separate by `;`, others by tabs: that is
    /// taken if the header has no comma.
    pub(super) fn of(head: &[u8]) -> Self {
        let (mut before, mut line) = next_line(head, 0);
        let named = separator(line);
        if named.is_some() {
            (before, line) = next_line(head, before + line.len());
        }
        let found = || [b',', b'\t', b';'].into_iter().find(|byte| line.contains(byte));
        Self {
            delimiter: named.or_else(found).unwrap_or(b','),
            before,
            header: String::from_utf8_lossy(line).into_owned(),
        }
    }

    /// The names of the columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.header.split(char::from(self.delimiter))
    }
}

/// The next line that is not blank, and where it begins. Old programs end lines with a carriage return alone.
fn next_line(head: &[u8], from: usize) -> (usize, &[u8]) {
    let rest = &head[from..];
    let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let line = &rest[blank..];
    let length = line
        .iter()
        .take_while(|byte| !matches!(byte, b'\r' | b'\n'))
        .count();
    (from + blank, &line[..length])
}

/// The separator that a line names, as Excel's do.
fn separator(line: &[u8]) -> Option<u8> {
    let line = line
        .strip_prefix(b"\"")
        .and_then(|line| line.strip_suffix(b"\""))
        .unwrap_or(line);
    match line.strip_prefix(b"sep=")? {
        [separator] => Some(*separator),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    #[test]
    fn the_header_shows_what_separates_columns() {
        for (head, delimiter, before, names) in [
            ("slug,url\na;b,c\n", b',', 0, vec!["slug", "url"]),
            ("slug;url;title\r\n", b';', 0, vec!["slug", "url", "title"]),
            ("slug\turl\n", b'\t', 0, vec!["slug", "url"]),
            ("\r\n\n slug;url", b';', 4, vec!["slug", "url"]),
            ("sep=;\r\nslug;url,x\n", b';', 7, vec!["slug", "url,x"]),
            ("\"sep=|\"\nslug|url\n", b'|', 8, vec!["slug", "url"]),
            ("slug;url\ra;b\r", b';', 0, vec!["slug", "url"]),
            ("slug", b',', 0, vec!["slug"]),
            ("", b',', 0, vec![""]),
        ] {
            let dialect = Dialect::of(head.as_bytes());
            assert_eq!(
                (dialect.delimiter, dialect.before),
                (delimiter, before),
                "{head:?}"
            );
            assert_eq!(dialect.names().collect::<Vec<_>>(), names, "{head:?}");
        }
    }
}
