-- Links by the host that they lead to: a domain is taken down with all its subdomains.
SET LOCAL lock_timeout = '100ms';

-- The host backwards, with a dot at its end, so that the hosts of a domain are next to one another. On a table that has
-- grown large, build this concurrently by hand before the release.
CREATE INDEX IF NOT EXISTS links_host_idx ON links (
    ((reverse(regexp_replace(split_part(target, '/', 3), ':[0-9]+$', '')) || '.') COLLATE "C"), id
);
