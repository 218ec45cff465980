-- Clicks as they came, their sums by hour and day, and what it takes to count each exactly once.

-- Times are microseconds since 1970.
CREATE TABLE clicks (
    clicked_at INTEGER NOT NULL,
    link_id INTEGER NOT NULL,
    bot INTEGER NOT NULL,
    -- A hash under a secret that is forgotten after its day. NULL for bots.
    visitor INTEGER,
    referrer TEXT NOT NULL,
    browser TEXT NOT NULL,
    system TEXT NOT NULL,
    device TEXT NOT NULL,
    country TEXT,
    language TEXT NOT NULL,
    CONSTRAINT clicks_bot_check CHECK (bot IN (0, 1)),
    CONSTRAINT clicks_lengths_check CHECK (
        octet_length(referrer) <= 255 AND octet_length(browser) <= 64 AND octet_length(system) <= 64
        AND octet_length(device) <= 16 AND octet_length(country) <= 2 AND octet_length(language) <= 16
    )
) STRICT;

-- There are no partitions to drop: old clicks are found by their time.
CREATE INDEX clicks_clicked_at_idx ON clicks (clicked_at);

-- The sums of an hour. `visitors` are those first seen on their day in this hour.
CREATE TABLE click_hours (
    link_id INTEGER NOT NULL,
    start INTEGER NOT NULL,
    clicks INTEGER NOT NULL,
    bots INTEGER NOT NULL,
    visitors INTEGER NOT NULL,
    PRIMARY KEY (link_id, start)
) STRICT, WITHOUT ROWID;

-- Human clicks by value of a dimension, of each hour (span 0) and of each day (span 1).
-- Dimensions: 1 referrer, 2 browser, 3 system, 4 device, 5 country, 6 language.
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

-- Who was counted as a visitor of a link on a day.
CREATE TABLE click_visitors (
    day INTEGER NOT NULL,
    link_id INTEGER NOT NULL,
    visitor INTEGER NOT NULL,
    PRIMARY KEY (day, link_id, visitor)
) STRICT, WITHOUT ROWID;

-- Batches of clicks that were stored: one that comes again is left out.
CREATE TABLE click_batches (
    id TEXT PRIMARY KEY NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX click_batches_recorded_at_idx ON click_batches (recorded_at);

-- The key of each day's visitor hashes, deleted when the day is over.
CREATE TABLE visitor_secrets (
    day INTEGER PRIMARY KEY NOT NULL,
    secret TEXT NOT NULL
) STRICT;

-- Deleted links whose sums are still there. The worker removes both.
CREATE TABLE link_remains (
    link_id INTEGER PRIMARY KEY NOT NULL
) STRICT;

CREATE TRIGGER links_remains AFTER DELETE ON links
BEGIN
    INSERT OR IGNORE INTO link_remains (link_id) VALUES (OLD.id);
END;

-- For the purge of links that expired long ago.
CREATE INDEX IF NOT EXISTS links_expires_at_idx ON links (expires_at) WHERE expires_at IS NOT NULL;
