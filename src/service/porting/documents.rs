//! JSON documents as APIs answer them, one after the other: links within wrappers, in arrays, or by themselves.
//!
//! Nothing but the link that is being read is held. What is told apart here is only where a link begins and ends; the
//! JSON parser judges the link itself.

use super::{MAX_ITEM_BYTES, Raw, Unreadable};

/// What holds links, where it is the value of such a field: an array, or an object.
const WRAPPERS: [&[u8]; 4] = [b"shortUrls", b"data", b"links", b"link"];
/// The wrapper whose object holds links under names of their own.
const NAMED: &[u8] = b"links";
/// The longest wrapper's name and one more.
const MAX_KEY: usize = 10;
/// The deepest nesting.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// An object that may be a link, or a wrapper.
    Candidate,
    /// A part of a candidate.
    Part,
    /// An object that turned out to hold links further in.
    Wrapper,
    /// What holds links.
    Links,
    /// A part of a wrapper that holds none.
    Other,
}

/// Reads documents.
#[derive(Debug, Default)]
pub(super) struct Documents {
    open: Vec<(Frame, u8)>,
    held: Vec<u8>,
    holding: bool,
    overlong: bool,
    in_string: bool,
    escaped: bool,
    /// The beginning of the last string.
    string: Vec<u8>,
    line: u64,
    begun: u64,
}

impl Documents {
    pub(super) fn new() -> Self {
        Self {
            line: 1,
            ..Self::default()
        }
    }

    /// Takes the next bytes, and puts the links that end in them into `out`.
    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Vec<Raw>) -> Result<(), Unreadable> {
        for byte in bytes {
            self.step(*byte, out)?;
        }
        Ok(())
    }

    /// Ends the reading.
    pub(super) fn finish(&self) -> Result<(), Unreadable> {
        if self.open.is_empty() && !self.in_string {
            return Ok(());
        }
        Err(self.unreadable("the JSON ends in the middle"))
    }

    fn unreadable(&self, detail: &str) -> Unreadable {
        Unreadable {
            line: self.line,
            detail: detail.to_owned(),
        }
    }

    fn step(&mut self, byte: u8, out: &mut Vec<Raw>) -> Result<(), Unreadable> {
        self.line += u64::from(byte == b'\n');
        self.hold(byte);
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            if self.in_string && self.string.len() < MAX_KEY {
                self.string.push(byte);
            }
            return Ok(());
        }
        match byte {
            b'{' | b'[' => self.begin(byte),
            b'}' | b']' => self.end(byte, out),
            b' ' | b'\t' | b'\r' | b'\n' | b',' => Ok(()),
            _ if self.open.is_empty() => Err(self.unreadable("neither a JSON object nor an array")),
            b'"' => {
                self.in_string = true;
                self.string.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn hold(&mut self, byte: u8) {
        if self.holding && !self.overlong {
            self.held.push(byte);
            if self.held.len() > MAX_ITEM_BYTES {
                self.overlong = true;
                self.held.clear();
            }
        }
    }

    fn begin(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.unreadable("the JSON is nested too deeply"));
        }
        let is_object = byte == b'{';
        let wraps = WRAPPERS.contains(&self.string.as_slice());
        let around = self.open.last().map(|(frame, _)| *frame);
        let frame = match around {
            None | Some(Frame::Links) if is_object => Frame::Candidate,
            None => Frame::Links,
            Some(Frame::Links | Frame::Other) => Frame::Other,
            Some(Frame::Part) => Frame::Part,
            Some(Frame::Candidate | Frame::Wrapper) if wraps => {
                if let Some(last) = self.open.last_mut() {
                    last.0 = Frame::Wrapper;
                }
                (self.holding, self.overlong) = (false, false);
                if is_object && self.string != NAMED {
                    Frame::Candidate
                } else {
                    Frame::Links
                }
            }
            Some(Frame::Candidate) => Frame::Part,
            Some(Frame::Wrapper) => Frame::Other,
        };
        if frame == Frame::Candidate {
            self.held.clear();
            self.held.push(byte);
            (self.holding, self.overlong) = (true, false);
            self.begun = self.line;
        }
        self.open.push((frame, if is_object { b'}' } else { b']' }));
        self.string.clear();
        Ok(())
    }

    fn end(&mut self, byte: u8, out: &mut Vec<Raw>) -> Result<(), Unreadable> {
        match self.open.pop() {
            Some((frame, closing)) if closing == byte => {
                if frame == Frame::Candidate {
                    out.push(if self.overlong {
                        Raw::too_long(self.begun)
                    } else {
                        Raw::object(self.begun, &self.held)
                    });
                    (self.holding, self.overlong) = (false, false);
                }
                Ok(())
            }
            _ => Err(self.unreadable("the brackets of the JSON do not match")),
        }
    }
}
