-- What tells whether a failure is gone, or is only not to be seen. See docs/decisions/0013-statuses.md.
ALTER TABLE runs ADD COLUMN kind VARCHAR;          -- audit, analyze; NULL in older rows: audit
ALTER TABLE runs ADD COLUMN filtered BOOLEAN;      -- only some events of the logs were looked at; NULL in older rows: no
ALTER TABLE files ADD COLUMN unshown VARCHAR[];    -- fingerprints of failures that the token budget left no room for
ALTER TABLE findings ADD COLUMN formerly VARCHAR[];  -- fingerprints by older rules that this one takes the place of
