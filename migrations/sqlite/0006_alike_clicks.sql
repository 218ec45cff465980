-- Clicks that are alike in all that is kept of them, and of one second, are one row.

-- How many clicks the row stands for.
ALTER TABLE clicks ADD COLUMN number INTEGER NOT NULL DEFAULT 1;
