-- Clicks that are alike in all that is kept of them, and of one second, are one row.
SET LOCAL lock_timeout = '2s';

-- How many clicks the row stands for. A constant default: no row is rewritten.
ALTER TABLE clicks ADD COLUMN number integer NOT NULL DEFAULT 1;
