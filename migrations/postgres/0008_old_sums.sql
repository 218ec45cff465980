-- Sums by their time: what is past its retention is found without reading the rest, which took longer than any statement may.
SET LOCAL lock_timeout = '2s';

-- On tables that have grown large, build these concurrently by hand before the release.
CREATE INDEX IF NOT EXISTS click_hours_start_idx ON click_hours (start);
CREATE INDEX IF NOT EXISTS click_values_start_idx ON click_values (start);
