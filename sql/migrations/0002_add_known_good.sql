-- What passing jobs say, so that later runs of the same job know noise by it. See docs/decisions/0007-baselines.md.

-- One row a job that passed in a run.
CREATE TABLE known_good (
    project VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    job_key VARCHAR NOT NULL,         -- the job's name from run to run: see bifrost_flow/jobkey.py
    ci_system VARCHAR,
    rules VARCHAR NOT NULL,           -- version of the rules that the hashes were made by, as in b1
    templates UBIGINT[],              -- hashes of the lines' templates, distinct
    whole BOOLEAN,                    -- of all lines, not just of those that look like failures
    files BIGINT,
    lines BIGINT,
    created_at TIMESTAMPTZ
);
