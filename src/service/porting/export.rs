//! Gives all links away, a page at a time.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::cells::guarded;
use crate::domain::{Cursor, Link, RedirectStatus, Slug, TargetUrl};
use crate::service::{Caller, Error, Links, Scope};
use crate::store::StoreError;

/// Links of a page.
const PAGE: u16 = 500;

/// How often a page is asked for again while the store is unavailable, and the pause before it.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// Our own forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportFormat {
    /// A JSON object a line.
    #[default]
    Ndjson,
    /// A table.
    Csv,
}

impl FromStr for ExportFormat {
    type Err = UnknownExport;

    fn from_str(text: &str) -> Result<Self, UnknownExport> {
        match text {
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            _ => Err(UnknownExport),
        }
    }
}

/// A text that is no form of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one of ndjson, csv")]
pub struct UnknownExport;

/// The fields, in their order.
#[derive(Serialize)]
struct Exported<'a> {
    slug: &'a Slug,
    url: &'a TargetUrl,
    title: Option<&'a str>,
    tags: &'a [String],
    redirect_status: RedirectStatus,
    cache_seconds: Option<u32>,
    forward_query: bool,
    valid_from: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    max_clicks: Option<i64>,
    disabled: bool,
    clicks: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
}

const COLUMNS: [&str; 14] = [
    "slug",
    "url",
    "title",
    "tags",
    "redirect_status",
    "cache_seconds",
    "forward_query",
    "valid_from",
    "expires_at",
    "max_clicks",
    "disabled",
    "clicks",
    "created_at",
    "updated_at",
];

/// The links that a caller sees, oldest first.
#[derive(Debug)]
pub struct Export {
    caller: Caller,
    format: ExportFormat,
    /// Whether owners are shown: to whoever may list keys.
    owners: bool,
    after: Option<Cursor>,
    state: State,
    links: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begins,
    Goes,
    Ended,
}

impl Export {
    /// The links of `caller`.
    pub fn new(caller: &Caller, format: ExportFormat) -> Result<Self, Error> {
        caller.require(Scope::LinksRead)?;
        Ok(Self {
            caller: caller.clone(),
            format,
            owners: caller.require(Scope::KeysAdmin).is_ok(),
            after: None,
            state: State::Begins,
            links: 0,
        })
    }

    /// Links so far.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.links
    }

    /// The next part of the text; `None` at the end.
    pub async fn next(&mut self, from: &Links) -> Result<Option<Vec<u8>>, Error> {
        if self.state == State::Ended {
            return Ok(None);
        }
        let rows = self.page(from).await?;
        let mut text = Vec::new();
        if self.state == State::Begins && self.format == ExportFormat::Csv {
            let owner = self.owners.then_some("owner");
            csv_row(&mut text, COLUMNS.into_iter().chain(owner));
        }
        self.state = if rows.len() < usize::from(PAGE) {
            State::Ended
        } else {
            State::Goes
        };
        for (place, link) in &rows {
            self.after = Some(*place);
            self.links += 1;
            self.write(&mut text, link).map_err(|err| {
                Error::from(StoreError::Corrupt(format!("a link cannot be written: {err}")))
            })?;
        }
        Ok((!text.is_empty()).then_some(text))
    }

    async fn page(&self, from: &Links) -> Result<Vec<(Cursor, Link)>, Error> {
        let mut tries = 0;
        loop {
            match from
                .store
                .links_after(self.after, self.caller.held_to(), PAGE)
                .await
            {
                Err(StoreError::Unavailable(_)) if tries < TRIES && self.state == State::Goes => {
                    tokio::time::sleep(PAUSE * 2_u32.pow(tries)).await;
                    tries += 1;
                }
                result => return Ok(result?),
            }
        }
    }

    fn write(&self, text: &mut Vec<u8>, link: &Link) -> Result<(), serde_json::Error> {
        let owner = link.owner.as_ref().filter(|_| self.owners).map(|id| id.as_str());
        match self.format {
            ExportFormat::Ndjson => {
                let exported = Exported {
                    slug: &link.slug,
                    url: &link.target,
                    title: link.title.as_deref(),
                    tags: &link.tags,
                    redirect_status: link.redirect_status,
                    cache_seconds: link.cache_seconds,
                    forward_query: link.forward_query,
                    valid_from: link.valid_from,
                    expires_at: link.expires_at,
                    max_clicks: link.max_clicks,
                    disabled: link.disabled,
                    clicks: link.clicks,
                    created_at: link.created_at,
                    updated_at: link.updated_at,
                    owner,
                };
                serde_json::to_writer(&mut *text, &exported)?;
                text.push(b'\n');
            }
            ExportFormat::Csv => {
                let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| time.to_string());
                let number = |number: Option<i64>| number.map_or_else(String::new, |n| n.to_string());
                let tags = if link.tags.is_empty() {
                    String::new()
                } else {
                    serde_json::to_string(&link.tags)?
                };
                let cells = [
                    &guarded(link.slug.as_str()),
                    link.target.as_str(),
                    &guarded(link.title.as_deref().unwrap_or_default()),
                    &tags,
                    &link.redirect_status.to_string(),
                    &number(link.cache_seconds.map(i64::from)),
                    &link.forward_query.to_string(),
                    &time(link.valid_from),
                    &time(link.expires_at),
                    &number(link.max_clicks),
                    &link.disabled.to_string(),
                    &link.clicks.to_string(),
                    &link.created_at.to_string(),
                    &link.updated_at.to_string(),
                ];
                let owner = self.owners.then(|| owner.unwrap_or_default());
                csv_row(text, cells.into_iter().chain(owner));
            }
        }
        Ok(())
    }
}

/// A row of RFC 4180, but for its end, which is a line feed alone.
fn csv_row<'a>(text: &mut Vec<u8>, cells: impl Iterator<Item = &'a str>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            text.push(b',');
        }
        if cell.contains(['"', ',', '\n', '\r']) {
            text.push(b'"');
            text.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            text.push(b'"');
        } else {
            text.extend_from_slice(cell.as_bytes());
        }
    }
    text.push(b'\n');
}
