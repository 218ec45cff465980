-- The schema of the first release. Times are microseconds since 1970.

-- Links.

-- The last revision: microseconds since 1970, or one more than before if the clock is behind. A write to an older copy of
-- the file still outranks what caches hold of the newer one.
CREATE TABLE link_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;

INSERT INTO link_revision (id, number) VALUES (1, 0);

CREATE TABLE links (
    id INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    clicks INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    redirect_status INTEGER NOT NULL,
    forward_query INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    cache_seconds INTEGER,
    valid_from INTEGER,
    expires_at INTEGER,
    max_clicks INTEGER,
    -- BINARY: slugs are compared byte by byte.
    slug TEXT COLLATE BINARY NOT NULL,
    target TEXT NOT NULL,
    title TEXT,
    -- A JSON array of texts.
    tags TEXT NOT NULL,
    -- The API key that created the link. NULL: the key from the settings, or an anonymous visitor.
    owner TEXT COLLATE BINARY,
    CONSTRAINT links_slug_key UNIQUE (slug),
    CONSTRAINT links_slug_check CHECK (length(slug) BETWEEN 1 AND 64 AND slug NOT GLOB '*[^A-Za-z0-9_-]*'),
    CONSTRAINT links_revision_check CHECK (revision > 0),
    CONSTRAINT links_target_check CHECK (
        (target GLOB 'http://*' OR target GLOB 'https://*') AND octet_length(target) <= 32768
    ),
    CONSTRAINT links_title_check CHECK (length(title) <= 200),
    CONSTRAINT links_tags_check CHECK (json_type(tags) = 'array' AND json_array_length(tags) <= 16),
    CONSTRAINT links_redirect_status_check CHECK (redirect_status IN (301, 302, 307, 308)),
    CONSTRAINT links_cache_seconds_check CHECK (cache_seconds BETWEEN 0 AND 31536000),
    CONSTRAINT links_forward_query_check CHECK (forward_query IN (0, 1)),
    CONSTRAINT links_time_order_check CHECK (valid_from < expires_at),
    CONSTRAINT links_max_clicks_check CHECK (max_clicks >= 1),
    CONSTRAINT links_disabled_check CHECK (disabled IN (0, 1)),
    CONSTRAINT links_clicks_check CHECK (clicks >= 0)
) STRICT;

CREATE INDEX links_owner_idx ON links (owner, id) WHERE owner IS NOT NULL;

-- The links that can have a state: lists by state walk these, newest first. `clicks` is no column of one: each counted
-- click would have to touch the index.
CREATE INDEX links_disabled_idx ON links (id) WHERE disabled = 1;
CREATE INDEX links_scheduled_idx ON links (id) WHERE valid_from IS NOT NULL;
CREATE INDEX links_expiring_idx ON links (id) WHERE expires_at IS NOT NULL OR max_clicks IS NOT NULL;

-- For the purge of links that expired long ago.
CREATE INDEX links_expires_at_idx ON links (expires_at) WHERE expires_at IS NOT NULL;
-- Reuse: the link of an owner to a destination.
CREATE INDEX links_target_idx ON links (target, owner);

-- A row for each tag of a link: lists by tag.
CREATE TABLE link_tags (
    tag TEXT COLLATE BINARY NOT NULL,
    link_id INTEGER NOT NULL,
    PRIMARY KEY (tag, link_id)
) STRICT, WITHOUT ROWID;

-- The index of the search, also for links by the host of their destination. It holds no second copy of the texts.
CREATE VIRTUAL TABLE links_search USING fts5(
    slug, target, title, content = 'links', content_rowid = 'id', tokenize = 'trigram'
);

CREATE TRIGGER links_inserted AFTER INSERT ON links BEGIN
    INSERT INTO links_search (rowid, slug, target, title) VALUES (new.id, new.slug, new.target, new.title);
    INSERT OR IGNORE INTO link_tags (tag, link_id) SELECT value, new.id FROM json_each(new.tags);
END;

CREATE TRIGGER links_deleted AFTER DELETE ON links BEGIN
    INSERT INTO links_search (links_search, rowid, slug, target, title)
    VALUES ('delete', old.id, old.slug, old.target, old.title);
    DELETE FROM link_tags WHERE link_id = old.id AND tag IN (SELECT value FROM json_each(old.tags));
END;

CREATE TRIGGER links_texts_updated AFTER UPDATE OF target, title ON links
WHEN old.target IS NOT new.target OR old.title IS NOT new.title BEGIN
    INSERT INTO links_search (links_search, rowid, slug, target, title)
    VALUES ('delete', old.id, old.slug, old.target, old.title);
    INSERT INTO links_search (rowid, slug, target, title) VALUES (new.id, new.slug, new.target, new.title);
END;

CREATE TRIGGER links_tags_updated AFTER UPDATE OF tags ON links WHEN old.tags IS NOT new.tags BEGIN
    DELETE FROM link_tags WHERE link_id = old.id AND tag IN (SELECT value FROM json_each(old.tags));
    INSERT OR IGNORE INTO link_tags (tag, link_id) SELECT value, new.id FROM json_each(new.tags);
END;

-- Soft-deleted links that can still be restored, under the ids that their stats have. Maintenance empties the table.
CREATE TABLE deleted_links (
    id INTEGER PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    slug TEXT COLLATE BINARY NOT NULL,
    target TEXT NOT NULL,
    title TEXT,
    tags TEXT NOT NULL,
    redirect_status INTEGER NOT NULL,
    cache_seconds INTEGER,
    forward_query INTEGER NOT NULL,
    valid_from INTEGER,
    expires_at INTEGER,
    max_clicks INTEGER,
    disabled INTEGER NOT NULL,
    clicks INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    owner TEXT COLLATE BINARY,
    deleted_at INTEGER NOT NULL
) STRICT;

CREATE INDEX deleted_links_slug_idx ON deleted_links (slug);
CREATE INDEX deleted_links_deleted_at_idx ON deleted_links (deleted_at);

-- Every change of a link or an API key, and every sign-in, recorded in the transaction that made it. Only appended to;
-- maintenance deletes what is old. Clicks are no changes.
CREATE TABLE changes (
    id INTEGER PRIMARY KEY NOT NULL,
    changed_at INTEGER NOT NULL,
    link_id INTEGER,
    -- What the change gave the link, or its deletion.
    revision INTEGER,
    -- link.created, link.updated, link.disabled, link.enabled, link.deleted, link.restored, link.purged, key.created,
    -- key.revoked, session.opened, session.closed, session.refused or sessions.rotated.
    kind TEXT COLLATE BINARY NOT NULL,
    -- admin, key:ID, anonymous, operator or system.
    actor TEXT COLLATE BINARY NOT NULL,
    -- NULL for a change of a key or a session.
    slug TEXT COLLATE BINARY,
    -- The key that was changed, or that the session belongs to; NULL for a session of the admin key.
    key_id TEXT COLLATE BINARY,
    CONSTRAINT changes_subject_check CHECK (
        ((slug IS NULL) <> (key_id IS NULL) OR (kind LIKE 'session%' AND slug IS NULL))
        AND (slug IS NULL) = (link_id IS NULL) AND (slug IS NULL) = (revision IS NULL)
    )
) STRICT;

CREATE INDEX changes_changed_at_idx ON changes (changed_at, id);
CREATE INDEX changes_slug_idx ON changes (slug, changed_at, id) WHERE slug IS NOT NULL;
-- No cache holds an older state of a link that was just created.
CREATE INDEX changes_tail_idx ON changes (changed_at, id) WHERE kind <> 'link.created' AND slug IS NOT NULL;

-- Ids of deleted links whose stats still exist. Maintenance deletes the stats, then the row.
CREATE TABLE orphaned_stats (
    link_id INTEGER PRIMARY KEY NOT NULL
) STRICT;

CREATE TRIGGER links_orphaned_stats AFTER DELETE ON links
BEGIN
    INSERT OR IGNORE INTO orphaned_stats (link_id) VALUES (OLD.id);
END;

-- Clicks, their stats by hour and day, and what counts each click exactly once.

CREATE TABLE clicks (
    clicked_at INTEGER NOT NULL,
    link_id INTEGER NOT NULL,
    bot INTEGER NOT NULL,
    -- A click through a QR code.
    scan INTEGER NOT NULL DEFAULT 0,
    -- How many clicks the row counts: clicks of one second that have all other columns in common are one row. Under overload
    -- it is one minute or one hour, and then the values are '(other)'.
    number INTEGER NOT NULL DEFAULT 1,
    referrer TEXT NOT NULL,
    browser TEXT NOT NULL,
    system TEXT NOT NULL,
    device TEXT NOT NULL,
    country TEXT,
    language TEXT NOT NULL,
    CONSTRAINT clicks_bot_check CHECK (bot IN (0, 1)),
    CONSTRAINT clicks_scan_check CHECK (scan IN (0, 1)),
    CONSTRAINT clicks_lengths_check CHECK (
        octet_length(referrer) <= 255 AND octet_length(browser) <= 64 AND octet_length(system) <= 64
        AND octet_length(device) <= 16 AND octet_length(country) <= 2 AND octet_length(language) <= 16
    )
) STRICT;

-- For retention: there are no partitions to drop.
CREATE INDEX clicks_clicked_at_idx ON clicks (clicked_at);

-- Counts by hour. `visitors` are those first seen on their day in this hour, `scans` the clicks through a QR code.
CREATE TABLE click_hours (
    link_id INTEGER NOT NULL,
    start INTEGER NOT NULL,
    clicks INTEGER NOT NULL,
    bots INTEGER NOT NULL,
    scans INTEGER NOT NULL DEFAULT 0,
    visitors INTEGER NOT NULL,
    PRIMARY KEY (link_id, start)
) STRICT, WITHOUT ROWID;

-- Human clicks by value of a dimension, of each hour (span 0) and of each day (span 1).
-- Dimensions: 1 referrer, 2 browser, 3 operating system, 4 device, 5 country, 6 language.
CREATE TABLE click_values (
    link_id INTEGER NOT NULL,
    span INTEGER NOT NULL,
    start INTEGER NOT NULL,
    dimension INTEGER NOT NULL,
    value TEXT COLLATE BINARY NOT NULL,
    clicks INTEGER NOT NULL,
    PRIMARY KEY (link_id, span, start, dimension, value),
    CONSTRAINT click_values_span_check CHECK (span IN (0, 1)),
    CONSTRAINT click_values_dimension_check CHECK (dimension BETWEEN 1 AND 6),
    CONSTRAINT click_values_value_check CHECK (octet_length(value) <= 255)
) STRICT, WITHOUT ROWID;

-- Human clicks that click_values does not count yet. Clicks of a batch, a link and an hour that have all values in
-- common are one row. Statistics add these rows to click_values; the rollup moves them there.
CREATE TABLE unsummed_clicks (
    link_id INTEGER NOT NULL,
    -- The hour.
    start INTEGER NOT NULL,
    referrer TEXT COLLATE BINARY NOT NULL,
    browser TEXT COLLATE BINARY NOT NULL,
    system TEXT COLLATE BINARY NOT NULL,
    device TEXT COLLATE BINARY NOT NULL,
    country TEXT COLLATE BINARY,
    language TEXT COLLATE BINARY NOT NULL,
    clicks INTEGER NOT NULL
) STRICT;

-- The rows of one link are read together and rolled up together.
CREATE INDEX unsummed_clicks_link_id_idx ON unsummed_clicks (link_id);

-- Visitors that were counted, by link and day: hashes keyed with the secret of the day, deleted with it.
CREATE TABLE click_visitors (
    day INTEGER NOT NULL,
    link_id INTEGER NOT NULL,
    visitor INTEGER NOT NULL,
    PRIMARY KEY (day, link_id, visitor)
) STRICT, WITHOUT ROWID;

-- Batches of clicks that were stored: a batch with one of these ids is not stored again. The ids begin with the time. They are
-- deleted after a day, and no instance sends a batch that is older.
CREATE TABLE click_batches (
    id TEXT PRIMARY KEY NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX click_batches_recorded_at_idx ON click_batches (recorded_at);

-- The secret that keys the visitor hashes of a day. It is deleted when the day is over.
CREATE TABLE visitor_secrets (
    day INTEGER PRIMARY KEY NOT NULL,
    secret TEXT NOT NULL
) STRICT;

-- API keys.
CREATE TABLE api_keys (
    id TEXT COLLATE BINARY PRIMARY KEY NOT NULL,
    -- SHA-256 of the key. The key itself is not stored.
    hash BLOB NOT NULL,
    name TEXT NOT NULL,
    -- A JSON array of texts.
    scopes TEXT NOT NULL,
    own_links_only INTEGER NOT NULL,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    CONSTRAINT api_keys_hash_key UNIQUE (hash),
    CONSTRAINT api_keys_hash_check CHECK (octet_length(hash) = 32),
    CONSTRAINT api_keys_name_check CHECK (length(name) BETWEEN 1 AND 200)
) STRICT;
CREATE INDEX api_keys_created_at_idx ON api_keys (created_at, id);

-- Secrets that all instances share. The first instance that needs one creates it.
CREATE TABLE shared_secrets (
    -- sessions or rate_limits.
    name TEXT COLLATE BINARY PRIMARY KEY NOT NULL,
    secret BLOB NOT NULL,
    CONSTRAINT shared_secrets_secret_check CHECK (octet_length(secret) = 32)
) STRICT;

-- Open sessions of the web interface. A session without a row is closed.
CREATE TABLE sessions (
    -- SHA-256 of the session's id, which only the browser has: a copy of this table signs in nowhere.
    hash BLOB PRIMARY KEY NOT NULL,
    -- The API key that opened it. NULL: the key from the settings.
    key_id TEXT COLLATE BINARY,
    expires_at INTEGER NOT NULL,
    CONSTRAINT sessions_hash_check CHECK (octet_length(hash) = 32)
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_key_id_idx ON sessions (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- When a round of maintenance last succeeded in every job: one row.
CREATE TABLE maintenance (
    id INTEGER PRIMARY KEY NOT NULL,
    succeeded_at INTEGER NOT NULL,
    CONSTRAINT maintenance_id_check CHECK (id = 1)
) STRICT;

-- Idempotency records: the first response to each request with an Idempotency-Key.
CREATE TABLE answers (
    caller TEXT COLLATE BINARY NOT NULL,
    key TEXT COLLATE BINARY NOT NULL,
    -- SHA-256 of the request.
    request BLOB NOT NULL,
    status INTEGER NOT NULL,
    location TEXT,
    body BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (caller, key),
    CONSTRAINT answers_request_check CHECK (octet_length(request) = 32)
) STRICT;

CREATE INDEX answers_expires_at_idx ON answers (expires_at);
