//! Takes links from a stream, a batch at a time.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::batch::Imported;
use super::documents::Documents;
use super::format::{Carrier, is_document};
use super::lines::Lines;
use super::report::{Concern, Outcome, Report, Trouble};
use super::request::{ImportError, ImportRequest, OnConflict};
use super::rows::{self, Row};
use super::table::Table;
use super::{Format, Raw, Unreadable};
use crate::domain::{KeyId, NewLink, Scope};
use crate::service::mutations::run_to_end;
use crate::service::{Caller, Error, Links};
use crate::store::{Arrival, Rules, Taken};

/// Links that are taken at once.
const BATCH: usize = 500;

/// Bytes that are read at once: what is found in them is held until it is taken.
const PIECE: usize = 16 * 1024;

/// Bytes that a guess is made from.
const HEAD: usize = 64 * 1024;

#[derive(Debug)]
enum Reader {
    /// The first bytes, until there are enough to know what follows.
    Head(Vec<u8>),
    Lines(Lines),
    Table(Box<Table>),
    Documents(Documents),
}

struct Waiting {
    line: u64,
    arrival: Arrival,
}

/// Takes links. Feed it, then finish it.
pub struct Import {
    links: Links,
    caller: Caller,
    request: ImportRequest,
    rules: Rules,
    reader: Reader,
    raws: Vec<Raw>,
    batch: Vec<Waiting>,
    slugs: HashSet<String>,
    seen: u64,
    /// Where the first object of a document begins that is no link.
    first_other: Option<u64>,
    report: Report,
    imported: Arc<Imported>,
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Links {
    /// Begins to take links. Creation times, clicks and owners are kept for callers who may make keys: others could
    /// make up a past.
    pub fn import(&self, caller: &Caller, request: ImportRequest) -> Result<Import, Error> {
        caller.require(Scope::LinksCreate)?;
        if matches!(caller, Caller::Anonymous { .. }) {
            return Err(Error::Unauthenticated);
        }
        let overwrite = request.on_conflict == OnConflict::Overwrite;
        if overwrite {
            caller.require(Scope::LinksWrite)?;
        }
        let history = caller.require(Scope::KeysAdmin).is_ok();
        Ok(Import {
            links: self.clone(),
            caller: caller.clone(),
            rules: Rules {
                held_to: caller.held_to().cloned(),
                overwrite,
                history,
            },
            reader: Reader::Head(Vec::new()),
            raws: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            slugs: HashSet::with_capacity(BATCH),
            seen: 0,
            first_other: None,
            report: Report {
                kept_history: history,
                ..Report::default()
            },
            imported: Arc::new(Imported::new(caller.actor())),
            request,
        })
    }
}

impl Import {
    /// Takes the next bytes. When this answers, no more than a batch of what they hold is still to be taken.
    pub async fn feed(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        for piece in bytes.chunks(PIECE) {
            self.piece(piece).await?;
        }
        Ok(())
    }

    /// Takes what is left.
    pub async fn finish(&mut self) -> Result<(), ImportError> {
        if matches!(self.reader, Reader::Head(_)) {
            self.begin().await?;
        }
        match &mut self.reader {
            Reader::Head(_) => {}
            Reader::Lines(lines) => lines.finish(&mut self.raws),
            Reader::Table(table) => table.finish(&mut self.raws)?,
            Reader::Documents(_) => {}
        }
        self.take_raws().await?;
        self.flush().await?;
        if let Reader::Documents(documents) = &self.reader {
            documents.finish()?;
        }
        if let (Some(line), 0) = (self.first_other, self.seen) {
            let detail = "no object has the fields of a link".to_owned();
            return Err(Unreadable { line, detail }.into());
        }
        self.imported.is_whole();
        Ok(())
    }

    /// How far it has come.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The problems since the last call.
    pub fn take_problems(&mut self) -> Vec<Concern> {
        std::mem::take(&mut self.report.problems)
    }

    async fn piece(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        match &mut self.reader {
            Reader::Head(head) => {
                head.extend_from_slice(bytes);
                if head.len() >= HEAD || (self.request.format.is_some() && head.len() >= PIECE) {
                    self.begin().await?;
                }
                return Ok(());
            }
            reader => read(reader, bytes, &mut self.raws)?,
        }
        self.take_raws().await
    }

    /// Decides what the first bytes are, and reads them.
    async fn begin(&mut self) -> Result<(), ImportError> {
        let Reader::Head(head) = std::mem::replace(&mut self.reader, Reader::Head(Vec::new())) else {
            return Ok(());
        };
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            let detail = "the input is UTF-16: save it as UTF-8".to_owned();
            return Err(Unreadable { line: 1, detail }.into());
        }
        let mut bytes = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
        if bytes.trim_ascii().is_empty() && self.request.format.is_none() {
            // Nothing is a list of no links in every form.
            return Ok(());
        }
        let format = self.request.format.or_else(|| Format::guess(bytes));
        let format = format.ok_or(ImportError::UnknownFormat)?;
        self.report.format = Some(format);
        self.report.guessed = self.request.format.is_none();
        self.reader = match (format, Carrier::of(bytes)) {
            (Format::Ndjson, _) if is_document(bytes) => Reader::Documents(Documents::new()),
            (Format::Ndjson, _) => Reader::Lines(Lines::default()),
            (Format::Csv | Format::Bitly, _) | (_, Carrier::Table) => {
                let (table, before) = Table::open(format, bytes);
                bytes = &bytes[before..];
                Reader::Table(Box::new(table))
            }
            (_, Carrier::Documents) => Reader::Documents(Documents::new()),
        };
        for piece in bytes.chunks(PIECE) {
            read(&mut self.reader, piece, &mut self.raws)?;
            self.take_raws().await?;
        }
        Ok(())
    }

    async fn take_raws(&mut self) -> Result<(), ImportError> {
        let format = self.report.format.unwrap_or(Format::Ndjson);
        let raws = std::mem::take(&mut self.raws);
        let base = self.request.base.clone();
        for Raw { line, fields } in raws {
            if self.passes_over(format, &fields) {
                self.first_other = self.first_other.or(Some(line));
                continue;
            }
            self.seen += 1;
            if self.seen <= self.request.skip {
                self.report.skipped_at_start += 1;
                self.report.read += 1;
                continue;
            }
            let rows = fields
                .map_err(|trouble| (None, vec![trouble]))
                .and_then(|fields| {
                    rows::read(format, fields, base.as_deref())
                        .map_err(|refusal| (refusal.slug, refusal.troubles))
                });
            match rows {
                Err((slug, troubles)) => self.refuse(line, slug.as_deref(), troubles),
                Ok(rows) => {
                    for row in rows {
                        self.take(line, row).await?;
                    }
                }
            }
            // Only what is behind the store's answer is dealt with.
            if self.batch.is_empty() {
                self.report.read = self.seen;
            }
        }
        Ok(())
    }

    /// Whether this is an object of a document that is no link at all.
    fn passes_over(&self, format: Format, fields: &Result<Map<String, Value>, Trouble>) -> bool {
        let is_other = |object: &Map<String, Value>| !format.is_link(object);
        matches!(self.reader, Reader::Documents(_)) && fields.as_ref().is_ok_and(is_other)
    }

    async fn take(&mut self, line: u64, row: Row) -> Result<(), ImportError> {
        let slug = row.draft.slug.clone().unwrap_or_default();
        match self.check(row) {
            Err(troubles) => self.refuse(line, Some(&slug), troubles),
            Ok(arrival) => {
                if self.slugs.contains(&slug) || self.batch.len() >= BATCH {
                    self.flush_before().await?;
                }
                self.slugs.insert(slug);
                self.batch.push(Waiting { line, arrival });
            }
        }
        Ok(())
    }

    fn check(&mut self, row: Row) -> Result<Arrival, Vec<Trouble>> {
        let owner = row.owner.map(|id| id.parse::<KeyId>());
        let blocked = self.links.blocklist.current();
        let targets = self
            .links
            .config
            .target_policy(self.request.host.as_deref(), &blocked);
        let checked = NewLink::check(row.draft, &targets, self.links.config.slugs);
        let history = row.history.check();
        let mut troubles: Vec<Trouble> = Vec::new();
        let mut note = |faults: Vec<_>| troubles.extend(faults.into_iter().map(Trouble::from));
        let (new, history) = match (checked, history) {
            (Ok(new), Ok(history)) => (new, history),
            (new, history) => {
                new.err().into_iter().chain(history.err()).for_each(&mut note);
                return Err(troubles);
            }
        };
        let owner = match owner {
            Some(Err(err)) => return Err(vec![Trouble::new("/owner", "out_of_range", err.to_string())]),
            Some(Ok(owner)) if self.rules.history => Some(owner),
            // What an administrator imports from elsewhere is nobody's.
            _ => self.caller.owner().cloned(),
        };
        let Some(slug) = new.slug.clone() else {
            return Err(vec![Trouble::new("/slug", "missing", "a link needs a slug here")]);
        };
        self.report.titles_cut += u64::from(row.title_cut);
        let mut link = new.into_link(slug, self.links.clock.now());
        link.owner = owner;
        link.disabled = row.disabled;
        if self.rules.history {
            link = link.with_history(history);
        }
        Ok(Arrival {
            link,
            dated: history.created_at.is_some(),
        })
    }

    /// Takes the batch before the link that is just being read.
    async fn flush_before(&mut self) -> Result<(), ImportError> {
        self.flush().await?;
        self.report.read = self.seen - 1;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ImportError> {
        let batch = std::mem::take(&mut self.batch);
        self.slugs.clear();
        if !batch.is_empty() {
            let (lines, arrivals): (Vec<u64>, Vec<Arrival>) = batch
                .into_iter()
                .map(|waiting| (waiting.line, waiting.arrival))
                .unzip();
            let (links, rules) = (self.links.clone(), self.rules.clone());
            let imported = Arc::clone(&self.imported);
            let taking = async move { links.take_batch(arrivals, &rules, &imported).await };
            let (arrivals, taken) = run_to_end(&self.links.lifecycle, |_stop| taking).await?;
            for ((line, arrival), taken) in lines.into_iter().zip(arrivals).zip(taken) {
                match taken {
                    Taken::Inserted(_) => self.report.created += 1,
                    Taken::Unchanged => self.report.unchanged += 1,
                    Taken::Overwritten(_) => self.report.overwritten += 1,
                    Taken::Differs => self.conflict(line, arrival.link.slug.as_str()),
                }
            }
        }
        self.report.read = self.seen;
        Ok(())
    }

    fn refuse(&mut self, line: u64, slug: Option<&str>, errors: Vec<Trouble>) {
        self.report.refused += 1;
        self.tell(Concern {
            line,
            slug: slug.map(rows::shown),
            outcome: Outcome::Refused,
            errors,
        });
    }

    fn conflict(&mut self, line: u64, slug: &str) {
        self.report.conflicts += 1;
        if self.request.on_conflict == OnConflict::Skip {
            return;
        }
        let detail = "another link has this slug";
        self.tell(Concern {
            line,
            slug: Some(slug.to_owned()),
            outcome: Outcome::Conflict,
            errors: vec![Trouble::new("/slug", "slug_taken", detail)],
        });
    }

    fn tell(&mut self, concern: Concern) {
        if self.report.problems.len() < self.request.max_problems {
            self.report.problems.push(concern);
        } else {
            self.report.problems_left_out += 1;
        }
    }
}

fn read(reader: &mut Reader, bytes: &[u8], raws: &mut Vec<Raw>) -> Result<(), Unreadable> {
    match reader {
        Reader::Head(_) => Ok(()),
        Reader::Lines(lines) => {
            lines.feed(bytes, raws);
            Ok(())
        }
        Reader::Table(table) => table.feed(bytes, raws),
        Reader::Documents(documents) => documents.feed(bytes, raws),
    }
}
