-- Clicks wait to be summed by value: a busy link's become few sums, and not as many as it has batches.

-- Human clicks that are not in click_values yet. Those of a batch, a link and an hour that have all values in common are
-- one row. Statistics add them to the sums. A build of before does not: after a way back, they wait for the way forward.
CREATE TABLE unsummed_clicks (
    link_id INTEGER NOT NULL,
    -- The hour.
    start INTEGER NOT NULL,
    referrer TEXT COLLATE BINARY NOT NULL,
    browser TEXT COLLATE BINARY NOT NULL,
    system TEXT COLLATE BINARY NOT NULL,
    device TEXT COLLATE BINARY NOT NULL,
    country TEXT COLLATE BINARY,
    language TEXT COLLATE BINARY NOT NULL,
    clicks INTEGER NOT NULL
) STRICT;

-- The clicks of one link are read together, and summed together.
CREATE INDEX unsummed_clicks_link_id_idx ON unsummed_clicks (link_id);
