-- The tables of version 1. Times are UTC; tokens are the provider's count, or UTF-8 bytes / 4.
-- The storage of record is Parquet, so these tables are never filled: their columns become each table's zero-row
-- `_schema.parquet`, which the views read beside the data. See docs/decisions/0002-warehouse.md.

-- One row a run. Written last, so that a run which is here is whole.
CREATE TABLE runs (
    project VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,          -- UUIDv7
    flow_run_id VARCHAR,              -- Prefect's
    source VARCHAR,                   -- what was given: paths, a prefix, stdin
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    status VARCHAR,                   -- completed, partial, failed, interrupted, budget_exhausted, dry_run
    settings VARCHAR,                 -- JSON, secrets masked
    versions VARCHAR,                 -- JSON: engine, prompt, schema, fingerprint
    files BIGINT,
    bytes BIGINT,
    lines BIGINT,
    chunks BIGINT,
    groups BIGINT,
    llm_calls BIGINT,
    cache_hits BIGINT,
    tokens_in BIGINT,
    tokens_out BIGINT,
    tokens_saved BIGINT,              -- what the cache hits would have cost
    cost_usd DOUBLE,
    errors BIGINT
);

-- One row an input file of a run.
CREATE TABLE files (
    project VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    location VARCHAR,                 -- the log's name from run to run: path without dates and run numbers, and job
    sha256 VARCHAR,
    bytes BIGINT,
    lines BIGINT,
    encoding VARCHAR,
    format VARCHAR,
    ci_system VARCHAR,
    job VARCHAR,
    first_ts TIMESTAMPTZ,
    last_ts TIMESTAMPTZ,
    outcome VARCHAR,                  -- passed, failed, unknown
    status VARCHAR,                   -- read, truncated, empty, binary, unreadable, missing, too_large
    error VARCHAR
);

-- One row a piece of evidence.
CREATE TABLE chunks (
    project VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    chunk_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    rank BIGINT,                      -- 1 is the best of its file
    line_start BIGINT,
    line_end BIGINT,
    lines BIGINT[][],                 -- [[first, last], …], inclusive
    anchor BIGINT,                    -- line that the chunk was built around
    severity VARCHAR,
    category VARCHAR,
    score DOUBLE,
    fingerprint VARCHAR,
    template VARCHAR,
    tokens BIGINT,
    text VARCHAR,                     -- redacted
    redactions BIGINT
);

-- One row a distinct failure of a run, resolved ones included.
CREATE TABLE findings (
    project VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    status VARCHAR,                   -- new, recurring, regressed, resolved
    title VARCHAR,
    category VARCHAR,
    severity VARCHAR,
    root_cause VARCHAR,
    explanation VARCHAR,
    suggestion VARCHAR,
    confidence DOUBLE,                -- 0…1
    evidence STRUCT(path VARCHAR, line BIGINT, quote VARCHAR)[],
    grounded BOOLEAN,
    occurrences BIGINT,               -- chunks with this fingerprint; 0 when resolved
    files BIGINT,
    first_seen TIMESTAMPTZ,           -- in this project
    last_seen TIMESTAMPTZ,
    provider VARCHAR,
    model VARCHAR,
    prompt VARCHAR,
    prompt_version VARCHAR,
    cached BOOLEAN,
    language VARCHAR
);

-- One row an attempt at a model call.
CREATE TABLE llm_calls (
    project VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    cache_key VARCHAR,
    fingerprint VARCHAR,
    provider VARCHAR,
    model VARCHAR,
    attempt BIGINT,                   -- 1 is the first try
    status VARCHAR,                   -- ok, failed
    error VARCHAR,
    latency_ms DOUBLE,
    tokens_in BIGINT,
    tokens_out BIGINT,
    cost_usd DOUBLE,
    started_at TIMESTAMPTZ
);

-- One row a number of a run.
CREATE TABLE metrics (
    project VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    value DOUBLE,
    unit VARCHAR
);

-- One row an answer that was paid for. Shared by all projects; a key may come twice when two runs asked at once.
CREATE TABLE cache (
    cache_key VARCHAR NOT NULL,
    response VARCHAR,                 -- JSON of answer.Answer
    provider VARCHAR,
    model VARCHAR,
    prompt_version VARCHAR,
    tokens_in BIGINT,
    tokens_out BIGINT,
    created_at TIMESTAMPTZ
);
