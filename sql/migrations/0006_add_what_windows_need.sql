-- What tells a log that is the last of its place from one beside it. See docs/decisions/0023-incremental.md.
ALTER TABLE files ADD COLUMN aside BOOLEAN;  -- read while others of its place, later or left out, hold failures: what it lacks is not gone; NULL in older rows: no
