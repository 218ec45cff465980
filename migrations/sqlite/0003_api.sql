-- Owners of links, lists and searches, keys, remembered answers.

-- The key that made the link; null is the key of the settings, or nobody's.
ALTER TABLE links ADD COLUMN owner TEXT COLLATE BINARY;

CREATE INDEX links_owner_idx ON links (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX links_disabled_idx ON links (id) WHERE disabled = 1;
CREATE INDEX links_target_idx ON links (target, owner);

-- A row for each tag of a link: the lists by tag. Kept by triggers, so that the build before keeps it too.
CREATE TABLE link_tags (
    tag TEXT COLLATE BINARY NOT NULL,
    link_id INTEGER NOT NULL,
    PRIMARY KEY (tag, link_id)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO link_tags (tag, link_id)
SELECT tag.value, links.id FROM links CROSS JOIN json_each(links.tags) AS tag;

-- The index of the search. It keeps no second copy of the texts.
CREATE VIRTUAL TABLE links_search USING fts5(
    slug, target, title, content = 'links', content_rowid = 'id', tokenize = 'trigram'
);

INSERT INTO links_search (links_search) VALUES ('rebuild');

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

CREATE TABLE api_keys (
    id TEXT COLLATE BINARY PRIMARY KEY NOT NULL,
    -- SHA-256: the key itself is kept nowhere.
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

-- First answers to requests with an Idempotency-Key.
CREATE TABLE answers (
    caller TEXT COLLATE BINARY NOT NULL,
    key TEXT COLLATE BINARY NOT NULL,
    -- SHA-256 of what was asked for.
    request BLOB NOT NULL,
    status INTEGER NOT NULL,
    location TEXT,
    body BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (caller, key),
    CONSTRAINT answers_request_check CHECK (octet_length(request) = 32)
) STRICT;

CREATE INDEX answers_expires_at_idx ON answers (expires_at);
