//! Links from elsewhere and to elsewhere: read and written as a stream, in memory that does not grow with it.

mod batch;
mod cells;
mod dialect;
mod documents;
mod escapes;
mod export;
mod fields;
mod format;
mod import;
mod lines;
mod peers;
mod report;
mod request;
mod rows;
mod table;

pub use export::{Export, ExportFormat, UnknownExport};
pub use format::{Format, UnknownFormat};
pub use import::Import;
pub use report::{Concern, Outcome, Report, Trouble};
pub use request::{ImportError, ImportRequest, OnConflict, UnknownChoice};

use serde_json::{Map, Value};

/// The most bytes of one link: twice what the longest target that can be allowed has.
pub(super) const MAX_ITEM_BYTES: usize = 64 * 1024;

/// One link as it was sent, not yet understood.
#[derive(Debug)]
struct Raw {
    /// The line that it begins in.
    line: u64,
    /// Its fields, or what is wrong with its form.
    fields: Result<Map<String, Value>, Trouble>,
}

impl Raw {
    fn malformed(line: u64, detail: impl Into<String>) -> Self {
        Self {
            line,
            fields: Err(Trouble::new("", "malformed", detail)),
        }
    }

    fn too_long(line: u64) -> Self {
        let detail = format!("a link has at most {MAX_ITEM_BYTES} bytes here; is a quote left open?");
        Self {
            line,
            fields: Err(Trouble::new("", "too_long", detail)),
        }
    }

    /// The object that `bytes` spell.
    fn object(line: u64, bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Self {
                line,
                fields: Ok(fields),
            },
            Ok(_) => Self::malformed(line, "not a JSON object"),
            // The parser's words name a place, and repeat nothing of the text.
            Err(err) => Self::malformed(line, format!("not valid JSON: {err}")),
        }
    }
}

/// The whole input makes no sense from some line on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub struct Unreadable {
    /// The line.
    pub line: u64,
    /// What is wrong with it. Repeats nothing of it.
    pub detail: String,
}
