-- Owners of links, lists and searches, keys, remembered answers.
SET LOCAL lock_timeout = '100ms';

-- The key that made the link; null is the key of the settings, or nobody's.
ALTER TABLE links ADD COLUMN owner text COLLATE "C";

-- On a table that has grown large, build these concurrently by hand before the release.
CREATE INDEX IF NOT EXISTS links_owner_idx ON links (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS links_tags_idx ON links USING gin (tags);
CREATE INDEX IF NOT EXISTS links_disabled_idx ON links (id) WHERE disabled;
CREATE INDEX IF NOT EXISTS links_valid_from_idx ON links (valid_from) WHERE valid_from IS NOT NULL;
CREATE INDEX IF NOT EXISTS links_expires_at_idx ON links (expires_at) WHERE expires_at IS NOT NULL;
-- Not over the clicks: counting one would have to touch the index.
CREATE INDEX IF NOT EXISTS links_max_clicks_idx ON links (id) WHERE max_clicks IS NOT NULL;
CREATE INDEX IF NOT EXISTS links_target_idx ON links (hashtextextended(target, 0), owner);

-- The search's index needs pg_trgm, a trusted extension: whoever may create in the database may install it. Without
-- it the search works all the same, but reads link after link. See migrations/README.md for how to add it later.
DO $$
DECLARE
    place text;
BEGIN
    BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
    EXCEPTION
        -- The last one: somebody else is just installing it.
        WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR invalid_schema_name
            OR unique_violation OR duplicate_object THEN
            RAISE WARNING 'pg_trgm was not installed: %', SQLERRM;
    END;
    SELECT namespace.nspname INTO place
    FROM pg_extension AS extension JOIN pg_namespace AS namespace ON namespace.oid = extension.extnamespace
    WHERE extension.extname = 'pg_trgm';
    IF place IS NOT NULL THEN
        EXECUTE format(
            'CREATE INDEX IF NOT EXISTS links_search_idx ON links USING gin
                (slug %1$I.gin_trgm_ops, target %1$I.gin_trgm_ops, title %1$I.gin_trgm_ops)',
            place
        );
    END IF;
END
$$;

CREATE TABLE api_keys (
    id text COLLATE "C" PRIMARY KEY,
    -- SHA-256: the key itself is kept nowhere.
    hash bytea NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    own_links_only boolean NOT NULL,
    expires_at timestamptz,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    CONSTRAINT api_keys_hash_key UNIQUE (hash),
    CONSTRAINT api_keys_hash_check CHECK (octet_length(hash) = 32),
    CONSTRAINT api_keys_name_check CHECK (char_length(name) BETWEEN 1 AND 200)
);

-- First answers to requests with an Idempotency-Key.
CREATE TABLE answers (
    caller text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- SHA-256 of what was asked for.
    request bytea NOT NULL,
    -- Null only within the transaction that makes the links.
    status smallint,
    location text,
    body bytea,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caller, key),
    CONSTRAINT answers_request_check CHECK (octet_length(request) = 32)
);

CREATE INDEX answers_expires_at_idx ON answers (expires_at);
