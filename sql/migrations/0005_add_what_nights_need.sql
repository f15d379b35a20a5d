-- What tells a log that was read before from one that is new or changed. See docs/decisions/0023-incremental.md.
ALTER TABLE files ADD COLUMN version VARCHAR;  -- of the file, or the archive that it is in: stat:<bytes>:<mtime in ns> or etag:<etag>; NULL where nothing tells
ALTER TABLE runs ADD COLUMN skipped BIGINT;    -- [files] found but not read, since an earlier run is done with them; NULL in older rows: 0
ALTER TABLE runs ADD COLUMN nightly VARCHAR;   -- JSON: the paths given, when all was read that was new up to the day of the run; else NULL
