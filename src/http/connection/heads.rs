//! Follows HTTP/1.1 requests (RFC 9112) as their bytes arrive, and makes the offers in their heads unrecognisable.
//!
//! No byte is held back, added or removed. The last letter of the connection option `upgrade`, and of the protocol
//! `websocket`, is replaced: then they are an option and a protocol that the server does not know. Bodies are passed over by
//! their length, so that nothing in them is changed. What is not understood ends the work for the whole connection: the
//! server refuses it.

/// Header names that matter, in lower case.
const CONNECTION: &[u8] = b"connection";
const UPGRADE: &[u8] = b"upgrade";
const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const LONGEST_NAME: usize = TRANSFER_ENCODING.len();

/// The end of the first line of a request of HTTP/1.1.
const VERSION: &[u8] = b"HTTP/1.1";
/// The end of a request line that is kept: the version and a carriage return.
const LINE_END: usize = VERSION.len() + 1;

/// Where in its requests a connection is.
#[derive(Debug, Default)]
pub(super) struct Heads {
    state: State,
    head: Head,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a request, or in its first line.
    #[default]
    Line,
    /// In the name of a header, of which so many bytes have passed.
    Name,
    /// In the value of a header that does not matter.
    Other,
    /// In a value in which a word is made unrecognisable: so many bytes of the word have just passed.
    Words(&'static [u8], usize),
    /// In `Content-Length`.
    Length,
    /// In `Transfer-Encoding`: so many bytes of `chunked` have just passed.
    Coding(usize),
    /// In a body with so many bytes to come.
    Body(u64),
    /// In the line that gives the size of a chunk; `true` behind its digits.
    Size(bool),
    /// In a chunk with so many bytes to come.
    Chunk(u64),
    /// In the line end behind a chunk.
    ChunkEnd,
    /// In the trailer section; `true` in a line that is not empty.
    Trailer(bool),
    /// Not understood, or no HTTP any more.
    Through,
}

/// What a head has said so far.
#[derive(Debug, Default)]
struct Head {
    /// The last bytes of the request line.
    line: [u8; LINE_END],
    /// The first bytes of the request line, as far as they tell `CONNECT`.
    method: [u8; 8],
    line_len: usize,
    name: [u8; LONGEST_NAME],
    name_len: usize,
    /// Another version than HTTP/1.1: it has no chunks.
    old: bool,
    length: Option<u64>,
    chunked: bool,
    /// The size of the chunk whose line is being read.
    size: u64,
}

impl Heads {
    /// Passes the next bytes of the connection.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Through => return,
                State::Body(left) => self.skip(bytes.len(), at, left, State::Body, State::Line),
                State::Chunk(left) => self.skip(bytes.len(), at, left, State::Chunk, State::ChunkEnd),
                // Most of a head: nothing but its end matters.
                State::Other => match memchr::memchr(b'\n', &bytes[at..]) {
                    Some(end) => {
                        self.state = State::Name;
                        self.head.name_len = 0;
                        at + end + 1
                    }
                    None => return,
                },
                State::Line => match memchr::memchr(b'\n', &bytes[at..]) {
                    Some(end) => {
                        self.first_line(&bytes[at..at + end]);
                        self.end_first_line();
                        at + end + 1
                    }
                    None => {
                        self.first_line(&bytes[at..]);
                        return;
                    }
                },
                _ => {
                    self.step(&mut bytes[at]);
                    at + 1
                }
            };
        }
    }

    /// Passes bytes of content, and answers where it ends.
    fn skip(&mut self, end: usize, at: usize, left: u64, more: fn(u64) -> State, then: State) -> usize {
        let here = (end - at) as u64;
        if left > here {
            self.state = more(left - here);
            return end;
        }
        self.state = then;
        self.head = Head::default();
        // Not more than there is here.
        at + usize::try_from(left).unwrap_or(end - at)
    }

    /// Keeps the beginning and the end of the request line.
    fn first_line(&mut self, part: &[u8]) {
        let head = &mut self.head;
        for byte in part.iter().take(head.method.len().saturating_sub(head.line_len)) {
            head.method[head.line_len] = *byte;
            head.line_len += 1;
        }
        let new = &part[part.len().saturating_sub(LINE_END)..];
        head.line.copy_within(new.len().., 0);
        head.line[LINE_END - new.len()..].copy_from_slice(new);
    }

    fn end_first_line(&mut self) {
        let line = &self.head.line;
        let line = line.strip_suffix(b"\r").unwrap_or(&line[1..]);
        self.state = match &self.head.method[..self.head.line_len] {
            // Empty lines may stand before a request.
            b"" | b"\r" => {
                self.head = Head::default();
                State::Line
            }
            // What follows is no HTTP.
            method if method.starts_with(b"CONNECT ") => State::Through,
            _ => {
                self.head.old = !line.ends_with(VERSION);
                State::Name
            }
        };
    }

    /// Passes a byte of a header or of the frame of a chunk.
    fn step(&mut self, byte: &mut u8) {
        let letter = byte.to_ascii_lowercase();
        self.state = match (self.state, letter) {
            (State::Name, b'\n') if self.head.name_len == 0 => self.end_head(),
            (State::Name, b'\n') => State::Through,
            (State::Name, b'\r') => State::Name,
            (State::Name, b':') => self.value(),
            (State::Name, letter) => {
                let head = &mut self.head;
                // A name that is longer than all of ours, or begins with another letter.
                if head.name_len == LONGEST_NAME
                    || (head.name_len == 0 && !matches!(letter, b'c' | b'u' | b't'))
                {
                    State::Other
                } else {
                    head.name[head.name_len] = letter;
                    head.name_len += 1;
                    State::Name
                }
            }
            (State::Words(..) | State::Length | State::Coding(_), b'\n') => {
                self.head.name_len = 0;
                State::Name
            }
            (State::Words(word, passed), letter) => {
                let passed = next(word, passed, letter);
                if passed == word.len() {
                    *byte = b'-';
                    State::Words(word, 0)
                } else {
                    State::Words(word, passed)
                }
            }
            (State::Length, b'0'..=b'9') => self.digit(u64::from(letter - b'0')),
            (State::Length, b' ' | b'\t' | b'\r') => State::Length,
            (State::Coding(passed), letter) => {
                let passed = next(b"chunked", passed, letter);
                self.head.chunked |= passed == b"chunked".len();
                State::Coding(passed % b"chunked".len())
            }
            (State::Size(behind), letter) => self.size(behind, letter),
            (State::ChunkEnd, b'\r') => State::ChunkEnd,
            (State::ChunkEnd, b'\n') => State::Size(false),
            (State::Trailer(false), b'\n') => {
                self.head = Head::default();
                State::Line
            }
            (State::Trailer(_), b'\n') => State::Trailer(false),
            (State::Trailer(some), letter) => State::Trailer(some || letter != b'\r'),
            _ => State::Through,
        };
    }

    /// Begins the value of the header whose name has passed.
    fn value(&mut self) -> State {
        match &self.head.name[..self.head.name_len] {
            CONNECTION => State::Words(b"upgrade", 0),
            UPGRADE => State::Words(b"websocket", 0),
            CONTENT_LENGTH if self.head.length.is_some() => State::Through,
            CONTENT_LENGTH => {
                self.head.length = Some(0);
                State::Length
            }
            TRANSFER_ENCODING => State::Coding(0),
            _ => State::Other,
        }
    }

    fn digit(&mut self, digit: u64) -> State {
        let length = self.head.length.unwrap_or(0);
        match length
            .checked_mul(10)
            .and_then(|length| length.checked_add(digit))
        {
            Some(length) => {
                self.head.length = Some(length);
                State::Length
            }
            None => State::Through,
        }
    }

    fn end_head(&mut self) -> State {
        let (length, chunked) = (self.head.length.unwrap_or(0), self.head.chunked && !self.head.old);
        self.head = Head::default();
        match (chunked, length) {
            (true, _) => State::Size(false),
            (false, 0) => State::Line,
            (false, length) => State::Body(length),
        }
    }

    /// Passes a byte of the line that gives the size of a chunk in hexadecimal digits.
    fn size(&mut self, behind: bool, letter: u8) -> State {
        let digit = match letter {
            b'\n' => {
                return match std::mem::take(&mut self.head.size) {
                    0 => State::Trailer(false),
                    size => State::Chunk(size),
                };
            }
            b'0'..=b'9' if !behind => letter - b'0',
            b'a'..=b'f' if !behind => letter - b'a' + 10,
            _ => return State::Size(true),
        };
        match self.head.size.checked_mul(16) {
            Some(size) => {
                self.head.size = size + u64::from(digit);
                State::Size(false)
            }
            None => State::Through,
        }
    }
}

/// How many bytes of `word` have passed, `letter` included.
fn next(word: &[u8], passed: usize, letter: u8) -> usize {
    if word[passed] == letter {
        passed + 1
    } else {
        usize::from(word[0] == letter)
    }
}

#[cfg(test)]
mod tests {
    use super::Heads;

    /// What passes, in parts of so many bytes.
    fn passed(text: &str, part: usize) -> String {
        let mut heads = Heads::default();
        let mut bytes = text.as_bytes().to_vec();
        for part in bytes.chunks_mut(part) {
            heads.pass(part);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_offer_of_a_connection_is_made_unrecognisable_and_nothing_else_is_touched() {
        const OFFER: &str = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, WebSocket\r\n";
        const HIDDEN: &str = "Connection: Upgrad-, HTTP2-Settings\r\nUpgrade: h2c, WebSocke-\r\n";
        let requests = [
            "GET /upgrade?upgrade HTTP/1.1\r\nHost: upgrade\r\n{offer}X-Note: connection: upgrade\r\n\r\n",
            "\r\nPOST / HTTP/1.1\r\n{offer}content-length:  39 \r\n\r\n\r\n\r\nConnection: Upgrade\r\n\r\nGET / HTTP/1",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n{offer}\r\n\
             15;x=upgrade\r\nConnection: upgrade\r\n\r\nA\r\n0123456789\r\n0\r\nConnection: upgrade\r\n\r\n",
            "GET /old HTTP/1.0\n{offer}\n",
            "POST /old HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 19\r\n\r\nConnection: upgrade",
            "DELETE / HTTP/1.1\r\nCookie: upgrade=upgrade\r\nuser-agent: connection\r\n{offer}\r\n",
        ];
        let all = requests.concat();

        for part in [1, 2, 3, 5, 7, 64, 4096] {
            assert_eq!(
                passed(&all.replace("{offer}", OFFER), part),
                all.replace("{offer}", HIDDEN),
                "{part}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_passes_as_it_is() {
        for text in [
            "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\nConnection: upgrade\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\nConnection: upgrade\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\nConnection: upgrade\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\ncontent-length: 3\r\nConnection: upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection\r\nConnection: upgrade\r\n\r\n",
        ] {
            assert_eq!(passed(text, 4096), text);
            assert_eq!(passed(text, 1), text);
        }
    }

    /// Pieces of requests in any order, some of them broken: however they are cut, the same bytes come out, and nothing but
    /// the last letters of the two words is another.
    #[test]
    fn whatever_arrives_comes_out_the_same_however_it_is_cut() {
        const PIECES: [&str; 20] = [
            "GET / HTTP/1.1\r\n",
            "POST /x HTTP/1.1\n",
            "PUT / HTTP/1.0\r\n",
            "CONNECT a:1 HTTP/1.1\r\n",
            "Connection: Upgrade, x\r\n",
            "connection:upgrade\n",
            "Upgrade: websocket\r\n",
            "Content-Length: 12\r\n",
            "Content-Length: 0\r\n",
            "Content-Length: x\r\n",
            "Transfer-Encoding: chunked\r\n",
            "\r\n",
            "\n",
            "A\r\n",
            "0\r\n",
            "ffffffffffffffffff\r\n",
            "upgrade websocket",
            "Upgrad",
            "e\r\n",
            ":",
        ];
        let mut random = fastrand::Rng::with_seed(17);
        for _ in 0..20_000 {
            let pieces: Vec<_> = (0..random.usize(1..24))
                .map(|_| PIECES[random.usize(..PIECES.len())])
                .collect();
            let text = pieces.concat();

            let whole = passed(&text, text.len());
            for part in [1, random.usize(1..9)] {
                assert_eq!(passed(&text, part), whole, "{text:?}");
            }
            for (before, after) in text.bytes().zip(whole.bytes()) {
                assert!(
                    before == after || (after == b'-' && matches!(before, b'e' | b't')),
                    "{text:?}"
                );
            }
        }
    }
}
