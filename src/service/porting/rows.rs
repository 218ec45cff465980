//! What a link of any form says, and how ours do.

use serde_json::{Map, Value};

use super::Trouble;
use super::cells::unguarded;
use super::fields::Fields;
use super::format::Format;
use super::peers;
use crate::domain::{History, Link, LinkDraft, Slug};

/// One link as its form says: of the right types, not yet checked.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) draft: LinkDraft,
    pub(super) disabled: bool,
    pub(super) history: History,
    pub(super) owner: Option<String>,
    pub(super) title_cut: bool,
}

/// A link whose fields cannot be read.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) slug: Option<String>,
    pub(super) troubles: Vec<Trouble>,
}

/// Reads the links that one object or row of `format` stands for: one, or for Bitly sometimes two. Short URLs may begin with
/// `base`.
pub(super) fn read(
    format: Format,
    object: Map<String, Value>,
    base: Option<&str>,
) -> Result<Vec<Row>, Refusal> {
    let mut fields = Fields::of(object);
    let mut rows = match format {
        Format::Ndjson => vec![own(&mut fields)],
        Format::Csv => {
            let mut row = own(&mut fields);
            row.draft.slug = row.draft.slug.map(unguarded);
            row.draft.title = row.draft.title.map(unguarded);
            vec![row]
        }
        Format::Yourls => vec![peers::yourls(&mut fields, base)],
        Format::Shlink => vec![peers::shlink(&mut fields, base)],
        Format::Kutt => vec![peers::kutt(&mut fields)],
        Format::Bitly => peers::bitly(&mut fields, base),
    };
    let troubles = fields.into_troubles();
    if !troubles.is_empty() {
        let slug = rows.into_iter().next().and_then(|row| row.draft.slug);
        let slug = slug.filter(|slug| !slug.is_empty());
        return Err(Refusal { slug, troubles });
    }
    if !format.is_own() {
        rows.iter_mut().for_each(cut_title);
    }
    Ok(rows)
}

fn own(fields: &mut Fields) -> Row {
    let row = Row {
        draft: LinkDraft {
            slug: fields.required("slug"),
            url: fields.required("url").unwrap_or_default(),
            length: None,
            title: fields.text("title"),
            tags: fields.texts("tags", ',').unwrap_or_default(),
            redirect_status: fields.integer("redirect_status"),
            cache_seconds: fields.integer("cache_seconds"),
            forward_query: fields.flag("forward_query").unwrap_or_default(),
            valid_from: fields.time("valid_from"),
            expires_at: fields.time("expires_at"),
            max_clicks: fields.integer("max_clicks"),
            reuse_existing: false,
        },
        disabled: fields.flag("disabled").unwrap_or_default(),
        history: History {
            created_at: fields.time("created_at"),
            updated_at: fields.time("updated_at"),
            clicks: fields.integer("clicks"),
        },
        owner: fields.text("owner"),
        title_cut: false,
    };
    // The API's list shows it; it follows from the slug.
    fields.ignore(&["short_url"]);
    fields.refuse_others();
    row
}

/// Titles that others took from pages are often longer than ours may be.
fn cut_title(row: &mut Row) {
    if let Some(title) = &mut row.draft.title
        && let Some((at, _)) = title.char_indices().nth(Link::MAX_TITLE_CHARS)
    {
        title.truncate(at);
        row.title_cut = true;
    }
}

/// A text that may be shown as a slug: what is longer is no slug anyway.
pub(super) fn shown(slug: &str) -> String {
    slug.chars().take(Slug::MAX_LEN + 1).collect()
}
