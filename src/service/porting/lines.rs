//! Objects, one a line. A broken line is refused alone.

use super::{MAX_ITEM_BYTES, Raw};

/// Reads lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    overlong: bool,
    ended: u64,
}

impl Lines {
    /// Takes the next bytes, and puts the links that end in them into `out`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<Raw>) {
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..at]);
            self.end(out);
            bytes = &bytes[at + 1..];
        }
        self.keep(bytes);
    }

    /// Ends the reading: the last line may have no end.
    pub(super) fn finish(&mut self, out: &mut Vec<Raw>) {
        self.end(out);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.overlong || self.partial.len() + bytes.len() > MAX_ITEM_BYTES {
            self.overlong = true;
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, out: &mut Vec<Raw>) {
        self.ended += 1;
        let line = self.partial.trim_ascii();
        if std::mem::take(&mut self.overlong) {
            out.push(Raw::too_long(self.ended));
        } else if !line.is_empty() {
            out.push(Raw::object(self.ended, line));
        }
        self.partial.clear();
    }
}
