-- What lets an answer serve another sighting of the failure that it explains; empty in older rows.
ALTER TABLE cache ADD COLUMN identity VARCHAR;     -- hash of who was asked what, whatever the log
ALTER TABLE cache ADD COLUMN fingerprint VARCHAR;  -- of the failure
ALTER TABLE cache ADD COLUMN sighting VARCHAR;     -- JSON: the lines that the answer stands on
