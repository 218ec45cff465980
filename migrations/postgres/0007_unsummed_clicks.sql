-- Clicks wait to be summed by value: a busy link's become few sums, and not as many as it has batches.

-- Human clicks that are not in click_values yet. Those of a batch, a link and an hour that have all values in common are
-- one row. Statistics add them to the sums. A build of before does not: after a way back, they wait for the way forward.
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

-- The clicks of one link are read together, and summed together.
CREATE INDEX unsummed_clicks_link_id_idx ON unsummed_clicks (link_id);
