//! Lists of links, in bounded steps.

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::links::{PostgresStore, column, corrupt, to_link};
use super::patience::within;
use super::pool::Parameter;
use super::work::Work;
use crate::domain::{Cursor, KeyId, Link, LinkPage, LinkQuery, LinkState, SearchText, Slug};
use crate::store::StoreError;
use crate::store::limits::LONG_LIMIT;
use crate::store::walk::{Step, StepPlan, Walk};

macro_rules! columns {
    ($table:literal) => {
        concat!(
            $table,
            ".id, ",
            $table,
            ".slug, ",
            $table,
            ".revision, ",
            $table,
            ".target, ",
            $table,
            ".title, ",
            $table,
            ".tags, ",
            $table,
            ".redirect_status, ",
            $table,
            ".cache_seconds, ",
            $table,
            ".forward_query, ",
            $table,
            ".valid_from, ",
            $table,
            ".expires_at, ",
            $table,
            ".max_clicks, ",
            $table,
            ".disabled, ",
            $table,
            ".clicks, ",
            $table,
            ".created_at, ",
            $table,
            ".updated_at, ",
            $table,
            ".owner"
        )
    };
}

/// Whether a link is asked for. Planned anew for each query's own values: what is null falls away.
macro_rules! asked {
    () => {
        "($2 IS NULL OR slug ILIKE $2 OR target ILIKE $2 OR title ILIKE $2
            OR target ILIKE $9 OR target ILIKE $10 OR target ILIKE $11)
        AND ($3 IS NULL OR tags @> ARRAY[$3])
        AND ($4 IS NULL OR owner = $4)
        AND ($5 IS NULL
            OR ($5 = 'disabled' AND disabled)
            OR ($5 = 'expired' AND NOT disabled AND (expires_at <= $6 OR clicks >= max_clicks))
            OR ($5 = 'scheduled' AND NOT disabled AND valid_from > $6
                AND (max_clicks IS NULL OR clicks < max_clicks))
            OR ($5 = 'live' AND NOT disabled AND (valid_from IS NULL OR valid_from <= $6)
                AND (expires_at IS NULL OR expires_at > $6) AND (max_clicks IS NULL OR clicks < max_clicks)))"
    };
}

/// Examines the `$8` newest links of a set that an index holds in this order, and answers those that are asked for. The
/// LIMIT inside keeps the planner from any other way: it would price the walk as if matches were spread evenly. There is
/// always a row: the last link examined is on it, if there are older ones.
macro_rules! walk {
    ($name:literal, $ids:expr, $links:expr, $order:literal) => {
        concat!(
            "-- ",
            $name,
            "()\nSELECT edge.bound, ",
            columns!("found"),
            "
FROM (SELECT (",
            $ids,
            " OFFSET $12 LIMIT 1) AS bound) AS edge
LEFT JOIN LATERAL (
    SELECT ",
            columns!("walked"),
            " FROM (",
            $links,
            " LIMIT $8) AS walked
    WHERE ",
            asked!(),
            "
    ORDER BY ",
            $order,
            " LIMIT $7
) AS found ON true
ORDER BY found.id DESC"
        )
    };
    ($name:literal, $condition:literal, $order:literal) => {
        walk!(
            $name,
            concat!("SELECT id FROM links WHERE ", $condition, " ORDER BY ", $order),
            concat!(
                "SELECT ",
                columns!("links"),
                " FROM links WHERE ",
                $condition,
                " ORDER BY ",
                $order
            ),
            $order
        )
    };
}

const LINKS: &str = walk!("list_links", "id < $1", "id DESC");

// As a row, and in the order of the index: by `id` alone, the planner might walk the primary key.
const LINKS_OF_OWNER: &str = walk!(
    "list_links_of_owner",
    "(owner, id) < ($4, $1) AND owner >= $4",
    "owner DESC, id DESC"
);

const LINKS_WITH_TAG: &str = walk!(
    "list_links_with_tag",
    "SELECT link_id FROM link_tags WHERE tag = $3 AND link_id < $1 ORDER BY link_id DESC",
    concat!(
        "SELECT link_id, ",
        columns!("links"),
        " FROM (
            SELECT link_id FROM link_tags WHERE tag = $3 AND link_id < $1 ORDER BY link_id DESC LIMIT $8
        ) AS tagged
        CROSS JOIN LATERAL (SELECT ",
        columns!("links"),
        " FROM links WHERE id = link_id OFFSET 0) AS links
        ORDER BY link_id DESC"
    ),
    "link_id DESC"
);

const DISABLED_LINKS: &str = walk!("list_disabled_links", "disabled AND id < $1", "id DESC");

const SCHEDULED_LINKS: &str = walk!(
    "list_scheduled_links",
    "valid_from IS NOT NULL AND id < $1",
    "id DESC"
);

const EXPIRING_LINKS: &str = walk!(
    "list_expiring_links",
    "(expires_at IS NOT NULL OR max_clicks IS NOT NULL) AND id < $1",
    "id DESC"
);

/// The links that hold a text, of all, unless there are `$8` or more: then no link at all. For a text that is rare.
const LINKS_WITH_TEXT: &str = concat!(
    "-- list_links_with_text()
WITH matching AS MATERIALIZED (
    SELECT id FROM links
    WHERE slug ILIKE $2 OR target ILIKE $2 OR title ILIKE $2
        OR target ILIKE $9 OR target ILIKE $10 OR target ILIKE $11
    LIMIT $8
)
SELECT counted.number, ",
    columns!("found"),
    "
FROM (SELECT count(*) AS number FROM matching) AS counted
LEFT JOIN LATERAL (
    SELECT ",
    columns!("links"),
    " FROM matching
    CROSS JOIN LATERAL (SELECT ",
    columns!("links"),
    " FROM links WHERE links.id = matching.id OFFSET 0) AS links
    WHERE counted.number < $8 AND links.id < $1 AND ",
    asked!(),
    "
    ORDER BY links.id DESC LIMIT $7
) AS found ON true
ORDER BY found.id DESC"
);

/// The planner would read all links for a text that it takes for common.
const SEARCH_BY_INDEX: &str = "-- search_by_index()
SET LOCAL enable_seqscan = off; SET LOCAL statement_timeout = '400ms'";

const HAS_SEARCH_INDEX: &str = "-- has_search_index()
SELECT indexrelid FROM pg_index WHERE indexrelid = to_regclass('links_search_idx') AND indisvalid";

/// A text that this many links hold is common: walking finds it.
const COMMON: i64 = 2000;

/// The index of the search knows no text of fewer letters and digits in a row.
const TRIGRAM: usize = 3;

pub(super) async fn links(store: &PostgresStore, query: &LinkQuery) -> Result<LinkPage, StoreError> {
    let patterns = Patterns::of(query.text.as_ref());
    let mut walk = Walk::new(query.after, query.limit);
    let mut search = query.text.as_ref().is_some_and(|text| is_indexed(text.typed()));
    let walking = async {
        loop {
            let step = step(store, query, &patterns, walk.plan()).await?;
            if let Some(page) = walk.take(step) {
                return Ok(page);
            }
            if std::mem::take(&mut search)
                && let Some(links) = search_by_index(store, query, &patterns, walk.plan()).await?
            {
                let all = Step { links, bound: None };
                return Ok(walk
                    .take(all)
                    .unwrap_or_else(|| LinkPage::of(Vec::new(), query.limit)));
            }
        }
    };
    within(LONG_LIMIT, walking).await.map_err(|failure| failure.error)
}

/// What is asked for, as the statements take it.
fn parameters<'a>(query: &'a Asked<'a>) -> Vec<Parameter<'a>> {
    vec![
        (/* before */ &query.before, Type::INT8),
        (/* pattern */ &query.patterns.typed, Type::TEXT),
        (/* tag */ &query.tag, Type::TEXT),
        (/* owner */ &query.owner, Type::TEXT),
        (/* state */ &query.state, Type::TEXT),
        (/* now */ &query.now, Type::TIMESTAMPTZ),
        (/* limit */ &query.limit, Type::INT8),
        (/* step */ &query.step, Type::INT8),
        (/* first spelling */ &query.patterns.spellings[0], Type::TEXT),
        (
            /* second spelling */ &query.patterns.spellings[1],
            Type::TEXT,
        ),
        (/* third spelling */ &query.patterns.spellings[2], Type::TEXT),
    ]
}

/// What a text is looked for by. What is `None` matches nothing, and falls away when the statement is planned.
#[derive(Default)]
struct Patterns {
    typed: Option<String>,
    spellings: [Option<String>; SearchText::MAX_SPELLINGS],
}

impl Patterns {
    fn of(text: Option<&SearchText>) -> Self {
        let Some(text) = text else {
            return Self::default();
        };
        let mut spellings = text.spellings().iter().map(|spelling| pattern(spelling));
        Self {
            typed: Some(pattern(text.typed())),
            spellings: std::array::from_fn(|_| spellings.next()),
        }
    }
}

struct Asked<'a> {
    before: i64,
    patterns: &'a Patterns,
    tag: Option<&'a str>,
    owner: Option<&'a str>,
    state: Option<&'static str>,
    now: jiff::Timestamp,
    limit: i64,
    step: i64,
}

impl<'a> Asked<'a> {
    fn new(query: &'a LinkQuery, patterns: &'a Patterns, plan: StepPlan) -> Self {
        Self {
            before: plan.before,
            patterns,
            tag: query.tag.as_deref(),
            owner: query.owner.as_ref().map(KeyId::as_str),
            state: query.state.map(state),
            now: query.now,
            limit: plan.wanted,
            step: plan.examined,
        }
    }
}

/// The smallest set that holds every link asked for, as far as the kind of the question shows.
fn statement(query: &LinkQuery) -> &'static str {
    match query {
        LinkQuery { tag: Some(_), .. } => LINKS_WITH_TAG,
        LinkQuery {
            state: Some(LinkState::Disabled),
            ..
        } => DISABLED_LINKS,
        LinkQuery {
            state: Some(LinkState::Scheduled),
            ..
        } => SCHEDULED_LINKS,
        LinkQuery { owner: Some(_), .. } => LINKS_OF_OWNER,
        LinkQuery {
            state: Some(LinkState::Expired),
            ..
        } => EXPIRING_LINKS,
        _ => LINKS,
    }
}

async fn step(
    store: &PostgresStore,
    query: &LinkQuery,
    patterns: &Patterns,
    plan: StepPlan,
) -> Result<Step, Failure> {
    let asked = Asked::new(query, patterns, plan);
    let skipped = asked.step - 1;
    let mut parameters = parameters(&asked);
    parameters.push((/* skipped */ &skipped, Type::INT8));
    let rows = store.searches().query(statement(query), &parameters).await?;
    let bound = rows
        .first()
        .map(|row| column(row, "bound"))
        .transpose()
        .map_err(Failure::of_outcome)?
        .flatten();
    Ok(Step {
        links: found(&rows)?,
        bound,
    })
}

/// The links of the page, if the text is rare enough for the index, and there is one.
async fn search_by_index(
    store: &PostgresStore,
    query: &LinkQuery,
    patterns: &Patterns,
    plan: StepPlan,
) -> Result<Option<Vec<(Cursor, Link)>>, Failure> {
    let common = StepPlan {
        examined: COMMON,
        ..plan
    };
    let asked = Asked::new(query, patterns, common);
    let parameters = parameters(&asked);
    let work = Work::begin(store.searches()).await?;
    if work.query_kept(HAS_SEARCH_INDEX, &[]).await?.is_empty() {
        work.roll_back().await?;
        return Ok(None);
    }
    work.batch(SEARCH_BY_INDEX).await?;
    let rows = match work.query(LINKS_WITH_TEXT, &parameters).await {
        Ok(rows) => rows,
        // It is not rare.
        Err(failure) if failure.code == Some(SqlState::QUERY_CANCELED) => {
            work.roll_back().await?;
            return Ok(None);
        }
        Err(failure) => return Err(failure),
    };
    work.commit().await?;
    let number: i64 = match rows.first() {
        Some(row) => column(row, "number").map_err(Failure::of_outcome)?,
        None => COMMON,
    };
    Ok(if number < COMMON {
        Some(found(&rows)?)
    } else {
        None
    })
}

/// The links of rows, of which the first may hold none.
fn found(rows: &[Row]) -> Result<Vec<(Cursor, Link)>, Failure> {
    let links = rows
        .iter()
        .filter_map(|row| match column::<Option<i64>>(row, "id") {
            Ok(None) => None,
            Ok(Some(id)) => Some(link(row).map(|link| (Cursor::at(id), link))),
            Err(err) => Some(Err(err)),
        });
    links.collect::<Result<_, _>>().map_err(Failure::of_outcome)
}

fn link(row: &Row) -> Result<Link, StoreError> {
    let slug: Slug = column::<&str>(row, "slug")?.parse().map_err(corrupt("slug"))?;
    to_link(&slug, row)
}

fn state(state: LinkState) -> &'static str {
    match state {
        LinkState::Live => "live",
        LinkState::Scheduled => "scheduled",
        LinkState::Expired => "expired",
        LinkState::Disabled => "disabled",
    }
}

/// Whether the index of the search can find a text.
fn is_indexed(text: &str) -> bool {
    text.split(|char: char| !char.is_alphanumeric())
        .any(|word| word.chars().count() >= TRIGRAM)
}

/// A pattern for what holds `text`, each of its characters meaning itself.
fn pattern(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}
