-- Links, and the counter of their revisions.

CREATE TABLE link_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;

INSERT INTO link_revision (id, number) VALUES (1, 0);

CREATE TABLE links (
    id INTEGER PRIMARY KEY,
    -- BINARY: slugs are compared byte by byte.
    slug TEXT COLLATE BINARY NOT NULL,
    revision INTEGER NOT NULL,
    target TEXT NOT NULL,
    title TEXT,
    -- A JSON array of texts.
    tags TEXT NOT NULL,
    redirect_status INTEGER NOT NULL,
    cache_seconds INTEGER,
    forward_query INTEGER NOT NULL,
    -- Times are microseconds since 1970.
    valid_from INTEGER,
    expires_at INTEGER,
    max_clicks INTEGER,
    disabled INTEGER NOT NULL,
    clicks INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT links_slug_key UNIQUE (slug),
    CONSTRAINT links_slug_check CHECK (length(slug) BETWEEN 1 AND 64 AND slug NOT GLOB '*[^A-Za-z0-9_-]*'),
    CONSTRAINT links_revision_check CHECK (revision > 0),
    CONSTRAINT links_target_check CHECK (
        (target GLOB 'http://*' OR target GLOB 'https://*') AND octet_length(target) <= 2048
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
