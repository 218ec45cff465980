-- Scans of QR codes apart from other clicks, and links that were deleted a moment ago.
SET LOCAL lock_timeout = '100ms';

-- Constant defaults: no row is rewritten.
ALTER TABLE clicks ADD COLUMN scan boolean NOT NULL DEFAULT false;

-- Those of the clicks that came from a QR code.
ALTER TABLE click_hours ADD COLUMN scans bigint NOT NULL DEFAULT 0;

-- Links that somebody may still want back, under the ids that their sums have. The worker empties it.
CREATE TABLE deleted_links (
    id bigint PRIMARY KEY,
    slug text COLLATE "C" NOT NULL,
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
    clicks bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    owner text COLLATE "C",
    deleted_at timestamptz NOT NULL
);

CREATE INDEX deleted_links_slug_idx ON deleted_links (slug);
CREATE INDEX deleted_links_deleted_at_idx ON deleted_links (deleted_at);
