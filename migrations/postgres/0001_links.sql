-- Links, and the counter of their revisions.

CREATE SEQUENCE link_revision AS bigint NO CYCLE;

CREATE TABLE links (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- "C": slugs are compared byte by byte, whatever the database's locale.
    slug text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    target text NOT NULL,
    title text,
    tags text[] NOT NULL,
    redirect_status smallint NOT NULL,
    cache_seconds integer,
    forward_query boolean NOT NULL,
    valid_from timestamptz,
    expires_at timestamptz,
    max_clicks bigint,
    disabled boolean NOT NULL,
    clicks bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT links_slug_key UNIQUE (slug),
    CONSTRAINT links_slug_check CHECK (slug ~ '^[A-Za-z0-9_-]{1,64}$'),
    CONSTRAINT links_revision_check CHECK (revision > 0),
    CONSTRAINT links_target_check CHECK (target ~ '^https?://' AND octet_length(target) <= 2048),
    CONSTRAINT links_title_check CHECK (char_length(title) <= 200),
    CONSTRAINT links_tags_check CHECK (cardinality(tags) <= 16 AND array_position(tags, NULL) IS NULL),
    CONSTRAINT links_redirect_status_check CHECK (redirect_status IN (301, 302, 307, 308)),
    CONSTRAINT links_cache_seconds_check CHECK (cache_seconds BETWEEN 0 AND 31536000),
    CONSTRAINT links_time_order_check CHECK (valid_from < expires_at),
    CONSTRAINT links_max_clicks_check CHECK (max_clicks >= 1),
    CONSTRAINT links_clicks_check CHECK (clicks >= 0)
)
-- Room on each page, so that a click count is written beside the old row and no index is touched.
WITH (fillfactor = 90);
