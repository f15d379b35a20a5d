-- Grain: an attempt at a model call. Order: slowest first.
--   project: of the run
--   run_id: of the run
--   latency_ms: [ms] until the answer was complete
--   provider: who was asked
--   model: who was asked
--   status: ok, failed
--   attempt: [place] 1 is the first try
--   tokens_in: [tokens] sent
--   tokens_out: [tokens] received
--   started_at: when it was sent
--   fingerprint: of the failure
--   error: what the provider said when it failed
CREATE VIEW slowest_calls AS
SELECT
    project,
    run_id,
    latency_ms,
    provider,
    model,
    status,
    attempt,
    tokens_in,
    tokens_out,
    started_at,
    fingerprint,
    error
FROM llm_calls
ORDER BY latency_ms DESC, started_at;
