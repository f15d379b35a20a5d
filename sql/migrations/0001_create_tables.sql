-- The tables of version 1. Times are UTC; tokens are the provider's count, or UTF-8 bytes / 4.
-- The storage of record is Parquet, so these tables are never filled: their columns become each table's zero-row
-- `_schema.parquet`, which the views read beside the data. See docs/decisions/0002-warehouse.md.

-- One row a run. Written last, so that a run which is here is whole.
CREATE TABLE runs (
    project VARCHAR NOT NULL,  -- whose history the run belongs to
    run_id VARCHAR NOT NULL,   -- UUIDv7: sorts by the time it was made
    flow_run_id VARCHAR,       -- Prefect's id of the flow run; NULL without Prefect
    source VARCHAR,            -- what was given: paths, a prefix, stdin
    started_at TIMESTAMPTZ,    -- when the run began
    finished_at TIMESTAMPTZ,   -- when its tables were about to be written
    status VARCHAR,            -- completed, partial, failed, interrupted, budget_exhausted, dry_run
    settings VARCHAR,          -- JSON, secrets masked
    versions VARCHAR,          -- JSON: engine, prompt, schema, fingerprint
    files BIGINT,              -- [files] found, unread ones included
    bytes BIGINT,              -- [bytes] of all files, on disk
    lines BIGINT,              -- [lines] read
    chunks BIGINT,             -- [chunks] of evidence kept
    groups BIGINT,             -- [groups] of chunks with one fingerprint: distinct failures
    llm_calls BIGINT,          -- [calls] of a model, repeated ones included
    cache_hits BIGINT,         -- [groups] that a cached answer explained
    tokens_in BIGINT,          -- [tokens] sent
    tokens_out BIGINT,         -- [tokens] received
    tokens_saved BIGINT,       -- [tokens] what the cache hits would have cost
    cost_usd DOUBLE,           -- [USD] by the table of prices
    errors BIGINT              -- [problems] with inputs, calls and deliveries
);

-- One row an input file of a run.
CREATE TABLE files (
    project VARCHAR NOT NULL,  -- of the run
    run_id VARCHAR NOT NULL,   -- of the run
    path VARCHAR NOT NULL,     -- as given, or found below what was given; archive!/member
    location VARCHAR,          -- the log's name from run to run: path without dates and run numbers, and job
    sha256 VARCHAR,            -- of the bytes on disk; NULL when nothing could be read
    bytes BIGINT,              -- [bytes] on disk
    lines BIGINT,              -- [lines] read
    encoding VARCHAR,          -- utf-8, utf-16-le, latin-1, …
    format VARCHAR,            -- plain, gzip, xz, …
    ci_system VARCHAR,         -- github-actions, gitlab, jenkins, …; NULL when not known
    job VARCHAR,               -- as the log or its path names it; NULL when not known
    first_ts TIMESTAMPTZ,      -- first time in the log
    last_ts TIMESTAMPTZ,       -- last time in the log
    outcome VARCHAR,           -- passed, failed, unknown
    status VARCHAR,            -- read, truncated, empty, binary, unreadable, missing, too_large
    error VARCHAR              -- a sentence when status is not read
);

-- One row a piece of evidence.
CREATE TABLE chunks (
    project VARCHAR NOT NULL,   -- of the run
    run_id VARCHAR NOT NULL,    -- of the run
    chunk_id VARCHAR NOT NULL,  -- within the run
    path VARCHAR NOT NULL,      -- of the file
    rank BIGINT,                -- [place] 1 is the best of its file
    line_start BIGINT,          -- [line] first one, counted from 1
    line_end BIGINT,            -- [line] last one
    lines BIGINT[][],           -- [line] [[first, last], …], inclusive
    anchor BIGINT,              -- [line] that the chunk was built around
    severity VARCHAR,           -- trace, debug, info, warning, error, critical
    category VARCHAR,           -- kind of failure, as in compile_error or timeout
    score DOUBLE,               -- [score] comparable within a file; higher is more likely the cause
    fingerprint VARCHAR,        -- hash of the masked text, tagged with the version of its rules
    template VARCHAR,           -- the masked text behind the fingerprint
    tokens BIGINT,              -- [tokens] of text, UTF-8 bytes / 4
    text VARCHAR,               -- the lines, normalised and redacted
    redactions BIGINT           -- [secrets] replaced in text
);

-- One row a distinct failure of a run, resolved ones included.
CREATE TABLE findings (
    project VARCHAR NOT NULL,                                     -- of the run
    run_id VARCHAR NOT NULL,                                      -- of the run
    fingerprint VARCHAR NOT NULL,                                 -- of the failure
    status VARCHAR,                                               -- new, recurring, regressed, resolved
    title VARCHAR,                                                -- one line
    category VARCHAR,                                             -- kind of failure, as in compile_error or timeout
    severity VARCHAR,                                             -- trace, debug, info, warning, error, critical
    root_cause VARCHAR,                                           -- what failed and why
    explanation VARCHAR,                                          -- how the evidence shows it
    suggestion VARCHAR,                                           -- what to do
    confidence DOUBLE,                                            -- [0…1] the answer's own
    evidence STRUCT(path VARCHAR, line BIGINT, quote VARCHAR)[],  -- quoted lines of the logs, looked up by code
    grounded BOOLEAN,                                             -- every name in the answer occurs in the evidence
    occurrences BIGINT,                                           -- [chunks] with this fingerprint; 0 when resolved
    files BIGINT,                                                 -- [files] among them; 0 when resolved
    first_seen TIMESTAMPTZ,                                       -- in this project
    last_seen TIMESTAMPTZ,                                        -- in this project
    provider VARCHAR,                                             -- who explained it
    model VARCHAR,                                                -- who explained it
    prompt VARCHAR,                                               -- what was asked
    prompt_version VARCHAR,                                       -- of the prompt
    cached BOOLEAN,                                               -- the answer came from the cache
    language VARCHAR                                              -- of the answer: en, ko
);

-- One row an attempt at a model call.
CREATE TABLE llm_calls (
    project VARCHAR NOT NULL,  -- of the run
    run_id VARCHAR NOT NULL,   -- of the run; it has no row in runs when it was killed
    cache_key VARCHAR,         -- of the question
    fingerprint VARCHAR,       -- of the failure
    provider VARCHAR,          -- who was asked
    model VARCHAR,             -- who was asked
    attempt BIGINT,            -- [place] 1 is the first try
    status VARCHAR,            -- ok, failed
    error VARCHAR,             -- what the provider said when it failed
    latency_ms DOUBLE,         -- [ms] until the answer was complete
    tokens_in BIGINT,          -- [tokens] sent
    tokens_out BIGINT,         -- [tokens] received
    cost_usd DOUBLE,           -- [USD] by the table of prices
    started_at TIMESTAMPTZ     -- when it was sent
);

-- One row a number of a run.
CREATE TABLE metrics (
    project VARCHAR NOT NULL,  -- of the run
    run_id VARCHAR NOT NULL,   -- of the run
    name VARCHAR NOT NULL,     -- of the number
    value DOUBLE,              -- [see unit] the number
    unit VARCHAR               -- of the number
);

-- One row an answer that was paid for. Shared by all projects; a key may come twice when two runs asked at once.
CREATE TABLE cache (
    cache_key VARCHAR NOT NULL,  -- hash of all that an answer depends on
    response VARCHAR,            -- JSON of the answer
    provider VARCHAR,            -- who answered
    model VARCHAR,               -- who answered
    prompt_version VARCHAR,      -- of the prompt
    tokens_in BIGINT,            -- [tokens] that were sent
    tokens_out BIGINT,           -- [tokens] that were received
    created_at TIMESTAMPTZ       -- when it was paid for
);
