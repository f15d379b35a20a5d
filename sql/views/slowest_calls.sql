-- Grain: an attempt at a model call. Order: slowest first.
CREATE VIEW slowest_calls AS
SELECT project, run_id, latency_ms, provider, model, status, attempt, tokens_in, tokens_out, started_at, fingerprint, error
FROM llm_calls
ORDER BY latency_ms DESC, started_at;
