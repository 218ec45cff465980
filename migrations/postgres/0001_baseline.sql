-- The schema of the first release.

-- Links.

-- The revision of a link whose revision was `previous`, or 0 for a new one: microseconds since 1970. A write to an older
-- copy of the database, such as a restored backup, still outranks what caches hold of the newer one.
CREATE FUNCTION next_revision(previous bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT greatest(previous + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
$$;

CREATE TABLE links (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    revision bigint NOT NULL,
    -- The revision with which the link was created: a click of a lower one was of another link with this slug.
    first_revision bigint NOT NULL DEFAULT 0,
    clicks bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    redirect_status smallint NOT NULL,
    forward_query boolean NOT NULL,
    disabled boolean NOT NULL,
    cache_seconds integer,
    valid_from timestamptz,
    expires_at timestamptz,
    max_clicks bigint,
    -- "C": slugs are compared byte by byte, regardless of the database's locale.
    slug text COLLATE "C" NOT NULL,
    target text NOT NULL,
    title text,
    tags text[] NOT NULL,
    -- The API key that created the link. NULL: the key from the settings, or an anonymous visitor.
    owner text COLLATE "C",
    CONSTRAINT links_slug_key UNIQUE (slug),
    CONSTRAINT links_slug_check CHECK (slug ~ '^[A-Za-z0-9_-]{1,64}$'),
    CONSTRAINT links_revision_check CHECK (revision > 0),
    CONSTRAINT links_target_check CHECK (target ~ '^https?://' AND octet_length(target) <= 32768),
    CONSTRAINT links_title_check CHECK (char_length(title) <= 200),
    CONSTRAINT links_tags_check CHECK (cardinality(tags) <= 16 AND array_position(tags, NULL) IS NULL),
    CONSTRAINT links_redirect_status_check CHECK (redirect_status IN (301, 302, 307, 308)),
    CONSTRAINT links_cache_seconds_check CHECK (cache_seconds BETWEEN 0 AND 31536000),
    CONSTRAINT links_time_order_check CHECK (valid_from < expires_at),
    CONSTRAINT links_max_clicks_check CHECK (max_clicks >= 1),
    CONSTRAINT links_clicks_check CHECK (clicks >= 0)
)
-- Free space on each page: a new click count is written beside the old row, and no index is touched (HOT).
WITH (fillfactor = 90);

CREATE INDEX links_owner_idx ON links (owner, id) WHERE owner IS NOT NULL;

-- The links that can have a state: lists by state walk these, newest first. `clicks` is no column of one: each counted
-- click would have to touch the index.
CREATE INDEX links_disabled_idx ON links (id) WHERE disabled;
CREATE INDEX links_scheduled_idx ON links (id) WHERE valid_from IS NOT NULL;
CREATE INDEX links_expiring_idx ON links (id) WHERE expires_at IS NOT NULL OR max_clicks IS NOT NULL;

-- For the purge of links that expired long ago.
CREATE INDEX links_expires_at_idx ON links (expires_at) WHERE expires_at IS NOT NULL;
-- Reuse: the link of an owner to a destination.
CREATE INDEX links_target_idx ON links (hashtextextended(target, 0), owner);
-- The destination's host reversed, with one dot at its end: a domain and all its subdomains are adjacent. The dot that may
-- end a host name in a URL is not part of it.
CREATE INDEX links_host_idx ON links (
    ((reverse(rtrim(regexp_replace(split_part(target, '/', 3), ':[0-9]+$', ''), '.')) || '.') COLLATE "C"), id
);

-- The index of the search needs pg_trgm, a trusted extension: each role with CREATE on the database may install it.
-- Without it the search reads one link after the other. migrations/README.md says how to add it later.
DO $$
DECLARE
    schema_of_extension text;
BEGIN
    BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
    EXCEPTION
        -- The last two: another session installs it at this moment.
        WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR invalid_schema_name
            OR unique_violation OR duplicate_object THEN
            RAISE WARNING 'pg_trgm was not installed: %', SQLERRM;
    END;
    SELECT namespace.nspname INTO schema_of_extension
    FROM pg_extension AS extension JOIN pg_namespace AS namespace ON namespace.oid = extension.extnamespace
    WHERE extension.extname = 'pg_trgm';
    IF schema_of_extension IS NOT NULL THEN
        EXECUTE format(
            'CREATE INDEX links_search_idx ON links USING gin
                (slug %1$I.gin_trgm_ops, target %1$I.gin_trgm_ops, title %1$I.gin_trgm_ops)',
            schema_of_extension
        );
    END IF;
END
$$;

-- A row for each tag of a link: lists and bulk changes by tag walk it in the order of its key. An index of `links.tags`
-- has no such order: for a rare tag the planner would rather read all links.
CREATE TABLE link_tags (
    tag text COLLATE "C" NOT NULL,
    link_id bigint NOT NULL,
    CONSTRAINT link_tags_pkey PRIMARY KEY (tag, link_id)
);

CREATE FUNCTION insert_link_tags() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO link_tags (tag, link_id) SELECT tag, NEW.id FROM unnest(NEW.tags) AS tag ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE FUNCTION delete_link_tags() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM link_tags WHERE link_id = OLD.id AND tag = ANY (OLD.tags);
    RETURN NULL;
END
$$;

-- For each row, so that a link without tags costs nothing.
CREATE TRIGGER links_tags_inserted AFTER INSERT ON links
FOR EACH ROW WHEN (cardinality(NEW.tags) > 0) EXECUTE FUNCTION insert_link_tags();

CREATE TRIGGER links_tags_deleted AFTER DELETE ON links
FOR EACH ROW WHEN (cardinality(OLD.tags) > 0) EXECUTE FUNCTION delete_link_tags();

-- In the order of their names: the old tags go before the new ones come.
CREATE TRIGGER links_tags_updated_1 AFTER UPDATE OF tags ON links
FOR EACH ROW WHEN (OLD.tags IS DISTINCT FROM NEW.tags) EXECUTE FUNCTION delete_link_tags();

CREATE TRIGGER links_tags_updated_2 AFTER UPDATE OF tags ON links
FOR EACH ROW WHEN (OLD.tags IS DISTINCT FROM NEW.tags) EXECUTE FUNCTION insert_link_tags();

-- Soft-deleted links that can still be restored, under the ids that their stats have. Maintenance empties the table.
CREATE TABLE deleted_links (
    id bigint PRIMARY KEY,
    revision bigint NOT NULL,
    first_revision bigint NOT NULL DEFAULT 0,
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

-- Every change of a link or an API key, and every sign-in, recorded by the statement that made it. Only appended to;
-- maintenance deletes what is old. Clicks are no changes.
CREATE TABLE changes (
    id bigint GENERATED ALWAYS AS IDENTITY,
    -- The clock of the database in that statement: before the change became visible.
    changed_at timestamptz NOT NULL,
    link_id bigint,
    -- What the change gave the link, or its deletion.
    revision bigint,
    -- link.created, link.updated, link.disabled, link.enabled, link.deleted, link.restored, link.purged, key.created,
    -- key.revoked, session.opened, session.closed, session.refused or sessions.rotated.
    kind text COLLATE "C" NOT NULL,
    -- admin, key:ID, anonymous, operator or system.
    actor text COLLATE "C" NOT NULL,
    -- NULL for a change of a key or a session.
    slug text COLLATE "C",
    -- The key that was changed, or that the session belongs to; NULL for a session of the admin key.
    key_id text COLLATE "C",
    CONSTRAINT changes_pkey PRIMARY KEY (changed_at, id),
    CONSTRAINT changes_subject_check CHECK (
        (num_nonnulls(slug, key_id) = 1 OR (kind LIKE 'session%' AND slug IS NULL))
        AND num_nonnulls(slug, link_id, revision) IN (0, 3)
    )
);

CREATE INDEX changes_slug_idx ON changes (slug, changed_at, id) WHERE slug IS NOT NULL;
-- Read by every instance every few seconds: no cache holds an older state of a link that was just created.
CREATE INDEX changes_tail_idx ON changes (changed_at, id) WHERE kind <> 'link.created' AND slug IS NOT NULL;

-- Ids of deleted links whose stats still exist. Maintenance deletes the stats, then the row.
CREATE TABLE orphaned_stats (
    link_id bigint NOT NULL,
    CONSTRAINT orphaned_stats_pkey PRIMARY KEY (link_id)
);

CREATE FUNCTION record_orphaned_stats() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO orphaned_stats (link_id) VALUES (OLD.id) ON CONFLICT (link_id) DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER links_orphaned_stats AFTER DELETE ON links FOR EACH ROW EXECUTE FUNCTION record_orphaned_stats();

-- Clicks, their stats by hour and day, and what counts each click exactly once.

-- Partitioned by UTC month, so that old clicks are dropped with their partition.
CREATE TABLE clicks (
    clicked_at timestamptz NOT NULL,
    link_id bigint NOT NULL,
    bot boolean NOT NULL,
    -- A click through a QR code.
    scan boolean NOT NULL DEFAULT false,
    -- How many clicks the row counts: clicks of one second that have all other columns in common are one row. Under overload
    -- it is one minute or one hour, and then the values are '(other)'.
    number integer NOT NULL DEFAULT 1,
    referrer text COLLATE "C" NOT NULL,
    browser text COLLATE "C" NOT NULL,
    system text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    country text COLLATE "C",
    language text COLLATE "C" NOT NULL,
    CONSTRAINT clicks_lengths_check CHECK (
        octet_length(referrer) <= 255 AND octet_length(browser) <= 64 AND octet_length(system) <= 64
        AND octet_length(device) <= 16 AND octet_length(country) <= 2 AND octet_length(language) <= 16
    )
) PARTITION BY RANGE (clicked_at);

-- Takes the clicks of a month that has no partition yet. Maintenance creates the partition and moves them.
CREATE TABLE clicks_default PARTITION OF clicks DEFAULT;

CREATE INDEX clicks_default_clicked_at_idx ON clicks_default (clicked_at);

-- Partitions are changed by functions that have the rights of the owner of the tables, so that a service whose role may read
-- and write rows alone still creates the partition of a month. The role needs EXECUTE; see `curtail migrate`.

-- Creates the partition of a UTC month, with the clicks of that month that are in the default one. There are few of them.
-- Does nothing if the month has a partition.
CREATE FUNCTION create_clicks_partition(of_time timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    month CONSTANT timestamp := date_trunc('month', of_time AT TIME ZONE 'UTC');
    first_moment CONSTANT text := to_char(month, 'YYYY-MM-DD "00:00:00+00"');
    end_moment CONSTANT text := to_char(month + interval '1 month', 'YYYY-MM-DD "00:00:00+00"');
    month_name CONSTANT text := 'clicks_' || to_char(month, 'YYYYMM');
    partition_name text;
BEGIN
    IF EXISTS (
        SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'clicks'::regclass AND c.relname ~ ('^' || month_name || '(_[0-9]+)?$')
    ) THEN
        RETURN;
    END IF;
    -- The first name that no table has: a partition that an operator has detached keeps its name.
    SELECT free.name INTO partition_name
    FROM generate_series(1, 9) AS number
    CROSS JOIN LATERAL (SELECT month_name || CASE WHEN number > 1 THEN '_' || number ELSE '' END AS name) AS free
    WHERE to_regclass(free.name) IS NULL ORDER BY number LIMIT 1;
    partition_name := coalesce(partition_name, month_name);

    LOCK TABLE clicks_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE clicks INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition_name);
    EXECUTE format(
        '-- fill_clicks_partition()
        WITH moved AS (
            DELETE FROM clicks_default WHERE clicked_at >= %2$L AND clicked_at < %3$L
            RETURNING clicked_at, link_id, bot, scan, number, referrer, browser, system, device, country, language
        )
        INSERT INTO %1$I (clicked_at, link_id, bot, scan, number, referrer, browser, system, device, country, language)
        SELECT clicked_at, link_id, bot, scan, number, referrer, browser, system, device, country, language FROM moved',
        partition_name, first_moment, end_moment
    );
    EXECUTE format(
        'ALTER TABLE clicks ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition_name, first_moment, end_moment
    );
END
$$;

-- Takes a default partition that is too full to be emptied in one go out of `clicks`, as clicks_overflow, and puts an empty
-- one into its place. Only the catalog changes, so clicks wait for milliseconds.
CREATE FUNCTION replace_default_clicks_partition() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    LOCK TABLE clicks IN ACCESS EXCLUSIVE MODE;
    ALTER TABLE clicks DETACH PARTITION clicks_default;
    ALTER TABLE clicks_default RENAME TO clicks_overflow;
    ALTER INDEX clicks_default_clicked_at_idx RENAME TO clicks_overflow_clicked_at_idx;
    CREATE TABLE clicks_default PARTITION OF clicks DEFAULT;
    CREATE INDEX clicks_default_clicked_at_idx ON clicks_default (clicked_at);
END
$$;

-- Drops clicks_overflow. An error if it holds a click.
CREATE FUNCTION drop_clicks_overflow() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    LOCK TABLE clicks_overflow IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM clicks_overflow) THEN
        RAISE EXCEPTION 'clicks_overflow holds clicks';
    END IF;
    DROP TABLE clicks_overflow;
END
$$;

-- Drops the partition of a month, with its clicks. Does nothing if `clicks` has no partition of that name.
CREATE FUNCTION drop_clicks_partition(partition_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF partition_name ~ '^clicks_[0-9]{6}(_[0-9]+)?$' AND EXISTS (
        SELECT FROM pg_inherits WHERE inhparent = 'clicks'::regclass AND inhrelid = to_regclass(partition_name)
    ) THEN
        EXECUTE format('DROP TABLE %I', partition_name);
    END IF;
END
$$;

-- Names in these functions mean this schema, whatever the caller's search_path, and no other role may call them yet.
DO $$
DECLARE
    signature regprocedure;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'create_clicks_partition(timestamptz)', 'replace_default_clicks_partition()', 'drop_clicks_overflow()',
        'drop_clicks_partition(text)'
    ]::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', signature, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
    END LOOP;
END
$$;

DO $$
BEGIN
    FOR ahead IN 0..2 LOOP
        PERFORM create_clicks_partition(now() + make_interval(months => ahead));
    END LOOP;
END
$$;

-- Counts by hour. `visitors` are those first seen on their day in this hour, `scans` the clicks through a QR code.
CREATE TABLE click_hours (
    link_id bigint NOT NULL,
    start timestamptz NOT NULL,
    clicks bigint NOT NULL,
    bots bigint NOT NULL,
    scans bigint NOT NULL DEFAULT 0,
    visitors bigint NOT NULL,
    CONSTRAINT click_hours_pkey PRIMARY KEY (link_id, start)
)
-- Free space on each page: a count is written beside its old row.
WITH (fillfactor = 70);

-- For retention.
CREATE INDEX click_hours_start_idx ON click_hours (start);

-- Human clicks by value of a dimension, of each hour (span 0) and of each day (span 1).
-- Dimensions: 1 referrer, 2 browser, 3 operating system, 4 device, 5 country, 6 language.
CREATE TABLE click_values (
    link_id bigint NOT NULL,
    span smallint NOT NULL,
    start timestamptz NOT NULL,
    dimension smallint NOT NULL,
    value text COLLATE "C" NOT NULL,
    clicks bigint NOT NULL,
    CONSTRAINT click_values_pkey PRIMARY KEY (link_id, span, start, dimension, value),
    CONSTRAINT click_values_span_check CHECK (span IN (0, 1)),
    CONSTRAINT click_values_dimension_check CHECK (dimension BETWEEN 1 AND 6),
    CONSTRAINT click_values_value_check CHECK (octet_length(value) <= 255)
)
WITH (fillfactor = 70);

-- For retention.
CREATE INDEX click_values_start_idx ON click_values (start);

-- Human clicks that click_values does not count yet. Clicks of a batch, a link and an hour that have all values in
-- common are one row. Statistics add these rows to click_values; the rollup moves them there.
CREATE TABLE unsummed_clicks (
    link_id bigint NOT NULL,
    -- The hour.
    start timestamptz NOT NULL,
    referrer text COLLATE "C" NOT NULL,
    browser text COLLATE "C" NOT NULL,
    system text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    country text COLLATE "C",
    language text COLLATE "C" NOT NULL,
    clicks bigint NOT NULL
);

-- The rows of one link are read together and rolled up together.
CREATE INDEX unsummed_clicks_link_id_idx ON unsummed_clicks (link_id);

-- Visitors that were counted, by link and day: hashes keyed with the secret of the day, deleted with it. UNLOGGED like the
-- secrets: a crash of the server empties the table, and visitors of that day who return are counted twice.
CREATE UNLOGGED TABLE click_visitors (
    day timestamptz NOT NULL,
    link_id bigint NOT NULL,
    visitor bigint NOT NULL,
    CONSTRAINT click_visitors_pkey PRIMARY KEY (day, link_id, visitor)
);

-- Batches of clicks that were stored: a batch with one of these ids is not stored again. The ids begin with the time. They are
-- deleted after a day, and no instance sends a batch that is older.
CREATE TABLE click_batches (
    id text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT click_batches_pkey PRIMARY KEY (id)
);

CREATE INDEX click_batches_recorded_at_idx ON click_batches (recorded_at);

-- The secret that keys the visitor hashes of a day. All instances share it. It is deleted when the day is over.
-- UNLOGGED: the rows are in no WAL, and so in no WAL archive, no base backup and no replica. With a secret from a backup,
-- the hashes of its day could be reversed by trying all IP addresses. A crash of the server empties the table: then the
-- instances draw a new secret, and visitors of that day who return may be counted twice.
CREATE UNLOGGED TABLE visitor_secrets (
    day timestamptz NOT NULL,
    secret text NOT NULL,
    CONSTRAINT visitor_secrets_pkey PRIMARY KEY (day)
);

-- API keys.
CREATE TABLE api_keys (
    id text COLLATE "C" PRIMARY KEY,
    -- SHA-256 of the key. The key itself is not stored.
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
CREATE INDEX api_keys_created_at_idx ON api_keys (created_at, id);

-- Secrets that all instances share. The first instance that needs one creates it.
CREATE TABLE shared_secrets (
    -- sessions or rate_limits.
    name text COLLATE "C" NOT NULL,
    secret bytea NOT NULL,
    CONSTRAINT shared_secrets_pkey PRIMARY KEY (name),
    CONSTRAINT shared_secrets_secret_check CHECK (octet_length(secret) = 32)
);

-- Open sessions of the web interface. A session without a row is closed.
CREATE TABLE sessions (
    -- SHA-256 of the session's id, which only the browser has: a copy of this table signs in nowhere.
    hash bytea NOT NULL,
    -- The API key that opened it. NULL: the key from the settings.
    key_id text COLLATE "C",
    expires_at timestamptz NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (hash),
    CONSTRAINT sessions_hash_check CHECK (octet_length(hash) = 32)
);

CREATE INDEX sessions_key_id_idx ON sessions (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- When a round of maintenance last succeeded in every job: one row, read by every instance for its metrics.
CREATE TABLE maintenance (
    id smallint PRIMARY KEY,
    succeeded_at timestamptz NOT NULL,
    CONSTRAINT maintenance_id_check CHECK (id = 1)
);

-- Idempotency records: the first response to each request with an Idempotency-Key.
CREATE TABLE answers (
    caller text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- SHA-256 of the request.
    request bytea NOT NULL,
    -- NULL only within the transaction that creates the links.
    status smallint,
    location text,
    body bytea,
    expires_at timestamptz NOT NULL,
    CONSTRAINT answers_pkey PRIMARY KEY (caller, key),
    CONSTRAINT answers_request_check CHECK (octet_length(request) = 32)
);

CREATE INDEX answers_expires_at_idx ON answers (expires_at);
