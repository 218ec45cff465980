//! Tables as MySQL's own tools write them, made ones of RFC 4180: a backslash before a quote instead of a second quote, and
//! `NULL` or `\N` without quotes for no value.

/// Rewrites a table, a byte at a time, before its rows are read.
///
/// In RFC 4180 a quote within quotes is doubled, and the quote that ends a cell stands before a separator or the end of the
/// row. So `\"` before anything else is written by a tool that escapes, and from there on every backslash is one of an escape.
#[derive(Debug, Clone)]
pub(super) struct Escapes {
    delimiter: u8,
    /// Whether `NULL` without quotes is no value.
    has_nulls: bool,
    /// Whether a backslash escapes.
    escapes: bool,
    state: State,
    /// The beginning of a cell without quotes that may turn out to be no value.
    word: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A cell begins.
    Start,
    /// A cell without quotes that may be no value.
    Word,
    Bare,
    /// Behind a backslash.
    BareEscape,
    Quoted,
    /// Behind a quote within quotes, which ends them or is the first of two.
    Quote,
    /// Behind a backslash within quotes.
    QuotedEscape,
    /// Behind a backslash and a quote, while it is not known whether a backslash escapes.
    EscapedQuote,
}

const NULLS: [&[u8]; 2] = [b"NULL", b"\\N"];

impl Escapes {
    /// For a table whose first bytes are `head`: what they show holds from the first row on.
    pub(super) fn new(delimiter: u8, has_nulls: bool, head: &[u8]) -> Self {
        let new = Self {
            delimiter,
            has_nulls,
            escapes: false,
            state: State::Start,
            word: Vec::new(),
        };
        let mut trial = new.clone();
        trial.feed(head, &mut Vec::with_capacity(head.len()));
        Self {
            escapes: trial.escapes,
            ..new
        }
    }

    /// Rewrites the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            self.step(*byte, out);
        }
    }

    /// Ends the table: the last row may have no end.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        match self.state {
            State::Word => self.end_word(out),
            State::QuotedEscape | State::BareEscape => out.push(b'\\'),
            State::EscapedQuote => out.extend_from_slice(b"\\\""),
            State::Start | State::Bare | State::Quoted | State::Quote => {}
        }
        self.state = State::Start;
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Start if byte == b'"' => {
                out.push(byte);
                self.state = State::Quoted;
            }
            State::Start if self.has_nulls || self.escapes => {
                self.state = State::Word;
                self.word(byte, out);
            }
            State::Start | State::Bare => self.bare(byte, out),
            State::Word => self.word(byte, out),
            State::BareEscape => {
                out.push(unescaped(byte));
                self.state = State::Bare;
            }
            State::Quoted => self.quoted(byte, out),
            State::Quote => {
                out.push(byte);
                self.state = match byte {
                    b'"' => State::Quoted,
                    _ if self.is_end(byte) => State::Start,
                    _ => State::Bare,
                };
            }
            State::QuotedEscape => self.behind_backslash(byte, out),
            State::EscapedQuote if byte == b'"' || self.is_end(byte) => {
                out.push(b'\\');
                self.state = State::Quoted;
                self.step(b'"', out);
                self.step(byte, out);
            }
            State::EscapedQuote => {
                self.escapes = true;
                out.extend_from_slice(b"\"\"");
                self.state = State::Quoted;
                self.step(byte, out);
            }
        }
    }

    fn bare(&mut self, byte: u8, out: &mut Vec<u8>) {
        if byte == b'\\' && self.escapes {
            self.state = State::BareEscape;
            return;
        }
        out.push(byte);
        self.state = if self.is_end(byte) {
            State::Start
        } else {
            State::Bare
        };
    }

    fn word(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.is_end(byte) {
            self.end_word(out);
            out.push(byte);
            self.state = State::Start;
            return;
        }
        self.word.push(byte);
        if !NULLS.iter().any(|null| null.starts_with(&self.word)) {
            self.state = State::Bare;
            for byte in std::mem::take(&mut self.word) {
                self.step(byte, out);
            }
        }
    }

    fn end_word(&mut self, out: &mut Vec<u8>) {
        if !NULLS.contains(&self.word.as_slice()) {
            out.extend_from_slice(&self.word);
        }
        self.word.clear();
    }

    fn quoted(&mut self, byte: u8, out: &mut Vec<u8>) {
        if byte == b'\\' {
            self.state = State::QuotedEscape;
            return;
        }
        out.push(byte);
        if byte == b'"' {
            self.state = State::Quote;
        }
    }

    fn behind_backslash(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.state = State::Quoted;
        match byte {
            b'"' if self.escapes => out.extend_from_slice(b"\"\""),
            b'"' => self.state = State::EscapedQuote,
            _ if self.escapes => out.push(unescaped(byte)),
            _ => {
                out.push(b'\\');
                self.step(byte, out);
            }
        }
    }

    /// Whether a byte ends a cell without quotes.
    fn is_end(&self, byte: u8) -> bool {
        byte == self.delimiter || matches!(byte, b'\r' | b'\n')
    }
}

/// What stands for itself behind a backslash, and what does not: the escapes of MySQL's `LOAD DATA`.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => byte,
    }
}

#[cfg(test)]
mod tests {
    use super::Escapes;

    /// Whatever the pieces in which the text comes, and whether or not its head shows what it is.
    fn rewritten(text: &str, has_nulls: bool) -> String {
        let whole = |head: &[u8]| {
            let (mut escapes, mut out) = (Escapes::new(b',', has_nulls, head), Vec::new());
            for byte in text.as_bytes() {
                escapes.feed(&[*byte], &mut out);
            }
            escapes.finish(&mut out);
            String::from_utf8(out).unwrap()
        };
        let seen = whole(text.as_bytes());
        assert_eq!(whole(b""), seen, "{text}");
        seen
    }

    #[test]
    fn a_backslash_before_a_quote_escapes_it() {
        for (from, to) in [
            (r#""it \"x\"",1"#, r#""it ""x""",1"#),
            (r#""say \"hi\", ok","a\\b""#, r#""say ""hi"", ok","a\b""#),
            (
                "\"a \\\"b\\\"\",\"line\\nbreak\"\n",
                "\"a \"\"b\"\"\",\"line\nbreak\"\n",
            ),
        ] {
            assert_eq!(rewritten(from, false), to);
        }
    }

    #[test]
    fn a_table_of_rfc_4180_stays_as_it_is() {
        for table in [
            "a,b\r\n\"c:\\dir\\\",\"x\"\n",
            "\"a\\\"\"b\",2\n",
            "\"ends with \\\"\"\"\n",
            "\\,\\n,\"\\\\\"\n",
            "NULL,\\N,\"NULL\"\n",
            "\"a\"\"b\",\"\",\n",
            "\"open",
            "back\\",
            "\"\\",
        ] {
            assert_eq!(rewritten(table, false), table);
        }
    }

    #[test]
    fn null_without_quotes_is_no_value() {
        assert_eq!(
            rewritten("NULL,\"NULL\",\\N,NULLS,N,NUL\nNULL", true),
            ",\"NULL\",,NULLS,N,NUL\n"
        );
        assert_eq!(rewritten("a\\N,b NULL,\\\n", true), "a\\N,b NULL,\\\n");
    }
}
