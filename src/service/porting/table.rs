//! A CSV table with a header (RFC 4180).

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::{Map, Value};

use super::dialect::Dialect;
use super::escapes::Escapes;
use super::format::plain;
use super::{Format, MAX_ITEM_BYTES, Raw, Unreadable};

/// The most columns.
const MAX_COLUMNS: usize = 256;

/// Reads rows.
pub(super) struct Table {
    reader: Reader,
    format: Format,
    escapes: Escapes,
    header: Option<Vec<String>>,
    text: Box<[u8]>,
    filled: usize,
    ends: Box<[usize]>,
    columns: usize,
    overlong: bool,
    /// Whether a row has begun.
    within: bool,
    line: u64,
    begun: u64,
    /// Whether the last byte was a carriage return, which ends a line with or without a line feed.
    returned: bool,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// A table of `format` that begins with `head`, and how much of that stands before its header.
    pub(super) fn open(format: Format, head: &[u8]) -> (Self, usize) {
        let dialect = Dialect::of(head);
        let mut table = Self {
            reader: ReaderBuilder::new().delimiter(dialect.delimiter).build(),
            format,
            // In a table of ours a title may be this word.
            escapes: Escapes::new(dialect.delimiter, !format.is_own(), &head[dialect.before..]),
            header: None,
            text: vec![0; MAX_ITEM_BYTES].into(),
            filled: 0,
            ends: vec![0; MAX_COLUMNS].into(),
            columns: 0,
            overlong: false,
            within: false,
            line: 1,
            begun: 1,
            returned: false,
        };
        table.count(&head[..dialect.before]);
        (table, dialect.before)
    }

    /// Takes the next bytes, and puts the links that end in them into `out`.
    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Vec<Raw>) -> Result<(), Unreadable> {
        let mut rewritten = Vec::with_capacity(bytes.len());
        self.escapes.feed(bytes, &mut rewritten);
        self.rows(&rewritten, out)
    }

    /// Ends the reading: the last row may have no end.
    pub(super) fn finish(&mut self, out: &mut Vec<Raw>) -> Result<(), Unreadable> {
        let mut rewritten = Vec::new();
        self.escapes.finish(&mut rewritten);
        self.rows(&rewritten, out)?;
        while self.within {
            self.read(&[], out)?;
        }
        Ok(())
    }

    fn rows(&mut self, mut bytes: &[u8], out: &mut Vec<Raw>) -> Result<(), Unreadable> {
        loop {
            if !self.within {
                // The reader would count these to the row behind them.
                let blank = |byte: &u8| matches!(byte, b'\r' | b'\n');
                let skipped = bytes.iter().take_while(|byte| blank(byte)).count();
                self.count(&bytes[..skipped]);
                bytes = &bytes[skipped..];
                self.begun = self.line;
            }
            if bytes.is_empty() {
                return Ok(());
            }
            bytes = &bytes[self.read(bytes, out)?..];
        }
    }

    /// Counts the lines that end.
    fn count(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let ends = *byte == b'\r' || (*byte == b'\n' && !self.returned);
            self.line += u64::from(ends);
            self.returned = *byte == b'\r';
        }
    }

    /// One step of the reader; answers how many bytes it has taken.
    fn read(&mut self, bytes: &[u8], out: &mut Vec<Raw>) -> Result<usize, Unreadable> {
        self.within = true;
        let (result, taken, written, ends) = self.reader.read_record(
            bytes,
            &mut self.text[self.filled..],
            &mut self.ends[self.columns..],
        );
        self.count(&bytes[..taken]);
        self.filled += written;
        self.columns += ends;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                self.overlong = true;
                (self.filled, self.columns) = (0, 0);
            }
            ReadRecordResult::Record => {
                self.row(out)?;
                (self.filled, self.columns, self.overlong, self.within) = (0, 0, false, false);
            }
            ReadRecordResult::End => self.within = false,
        }
        Ok(taken)
    }

    fn row(&mut self, out: &mut Vec<Raw>) -> Result<(), Unreadable> {
        let line = self.begun;
        let unreadable = |detail: &str| Unreadable {
            line,
            detail: detail.to_owned(),
        };
        if self.overlong {
            if self.header.is_none() {
                return Err(unreadable("the header is too long"));
            }
            out.push(Raw::too_long(line));
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(&self.text[..self.filled]) else {
            if self.header.is_none() {
                return Err(unreadable("the header is not UTF-8: save the table as UTF-8"));
            }
            out.push(Raw::malformed(line, "not UTF-8: save the table as UTF-8"));
            return Ok(());
        };
        let mut start = 0;
        let cells = self.ends[..self.columns].iter().map(|end| {
            // An end in the middle of a character is none of the reader's.
            let cell = text.get(start..*end).unwrap_or_default();
            start = *end;
            cell
        });
        let Some(header) = &self.header else {
            let name = |cell: &str| {
                if self.format.is_own() {
                    cell.trim().to_ascii_lowercase()
                } else {
                    plain(cell)
                }
            };
            let names: Vec<String> = cells.map(name).collect();
            let twice = |at: usize| !names[at].is_empty() && names[..at].contains(&names[at]);
            if (0..names.len()).any(twice) {
                return Err(unreadable("the header names a column twice"));
            }
            if let Some(column) = self.format.missing_column(&names) {
                return Err(unreadable(&missing(column, &names)));
            }
            self.header = Some(names);
            return Ok(());
        };
        if self.columns != header.len() {
            let detail = format!("the row has {} cells, the header {}", self.columns, header.len());
            out.push(Raw::malformed(line, detail));
            return Ok(());
        }
        let fields: Map<String, Value> = header
            .iter()
            .zip(cells)
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| (name.clone(), Value::String(cell.to_owned())))
            .collect();
        out.push(Raw {
            line,
            fields: Ok(fields),
        });
        Ok(())
    }
}

/// Why a header is none of the format.
fn missing(column: &str, names: &[String]) -> String {
    let hint = match names {
        [all] if all.contains([';', '|', '\t']) => "; columns are separated by a comma, a semicolon or a tab",
        _ => "",
    };
    format!("the first line has no column `{column}`, and a table begins with the names of its columns{hint}")
}
