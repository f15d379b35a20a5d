-- What passing jobs say, so that later runs of the same job know noise by it. See docs/decisions/0007-baselines.md.

-- One row a job that passed in a run.
CREATE TABLE known_good (
    project VARCHAR NOT NULL,  -- of the run
    run_id VARCHAR NOT NULL,   -- of the run
    job_key VARCHAR NOT NULL,  -- the job's name from run to run
    ci_system VARCHAR,         -- github-actions, gitlab, jenkins, …; NULL when not known
    rules VARCHAR NOT NULL,    -- version of the rules that the hashes were made by, as in b1
    templates UBIGINT[],       -- [hashes] of the lines' templates, distinct
    whole BOOLEAN,             -- of all lines, not just of those that look like failures
    files BIGINT,              -- [files] of the job
    lines BIGINT,              -- [lines] of these files
    created_at TIMESTAMPTZ     -- when the run learnt it
);
