-- Scans of QR codes apart from other clicks, and links that were deleted a moment ago.

ALTER TABLE clicks ADD COLUMN scan INTEGER NOT NULL DEFAULT 0 CONSTRAINT clicks_scan_check CHECK (scan IN (0, 1));

-- Those of the clicks that came from a QR code.
ALTER TABLE click_hours ADD COLUMN scans INTEGER NOT NULL DEFAULT 0;

-- Links that somebody may still want back, under the ids that their sums have. The worker empties it.
CREATE TABLE deleted_links (
    id INTEGER PRIMARY KEY NOT NULL,
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
