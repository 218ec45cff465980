-- Clicks as they came, their sums by hour and day, and what it takes to count each exactly once.

SET LOCAL lock_timeout = '100ms';

-- By month, so that old clicks go with their partition. Times decide the partition: UTC months.
CREATE TABLE clicks (
    clicked_at timestamptz NOT NULL,
    link_id bigint NOT NULL,
    bot boolean NOT NULL,
    -- A hash under a secret that is forgotten after its day. NULL for bots.
    visitor bigint,
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

-- No click is refused because nobody made its month's partition; the worker moves such clicks later.
CREATE TABLE clicks_default PARTITION OF clicks DEFAULT;

DO $$
DECLARE
    month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
BEGIN
    FOR ahead IN 0..2 LOOP
        EXECUTE format(
            'CREATE TABLE clicks_%s PARTITION OF clicks FOR VALUES FROM (%L) TO (%L)',
            to_char(month, 'YYYYMM'), month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC'
        );
        month := month + interval '1 month';
    END LOOP;
END
$$;

-- The sums of an hour. `visitors` are those first seen on their day in this hour.
CREATE TABLE click_hours (
    link_id bigint NOT NULL,
    start timestamptz NOT NULL,
    clicks bigint NOT NULL,
    bots bigint NOT NULL,
    visitors bigint NOT NULL,
    CONSTRAINT click_hours_pkey PRIMARY KEY (link_id, start)
)
-- Room on each page, so that a sum is written beside its old row.
WITH (fillfactor = 70);

-- Human clicks by value of a dimension, of each hour (span 0) and of each day (span 1).
-- Dimensions: 1 referrer, 2 browser, 3 system, 4 device, 5 country, 6 language.
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

-- Who was counted as a visitor of a link on a day.
CREATE TABLE click_visitors (
    day timestamptz NOT NULL,
    link_id bigint NOT NULL,
    visitor bigint NOT NULL,
    CONSTRAINT click_visitors_pkey PRIMARY KEY (day, link_id, visitor)
);

-- Batches of clicks that were stored: one that comes again is left out.
CREATE TABLE click_batches (
    id text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT click_batches_pkey PRIMARY KEY (id)
);

CREATE INDEX click_batches_recorded_at_idx ON click_batches (recorded_at);

-- The key of each day's visitor hashes, shared by all instances, deleted when the day is over.
CREATE TABLE visitor_secrets (
    day timestamptz NOT NULL,
    secret text NOT NULL,
    CONSTRAINT visitor_secrets_pkey PRIMARY KEY (day)
);

-- Deleted links whose sums are still there. The worker removes both.
CREATE TABLE link_remains (
    link_id bigint NOT NULL,
    CONSTRAINT link_remains_pkey PRIMARY KEY (link_id)
);

CREATE FUNCTION remember_link_remains() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO link_remains (link_id) VALUES (OLD.id) ON CONFLICT (link_id) DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER links_remains AFTER DELETE ON links FOR EACH ROW EXECUTE FUNCTION remember_link_remains();

-- For the purge of links that expired long ago.
CREATE INDEX IF NOT EXISTS links_expires_at_idx ON links (expires_at) WHERE expires_at IS NOT NULL;
