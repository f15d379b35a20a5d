-- Grain: a project, UTC day, provider and model that was called. Order: project, day, dearest first.
--   project: of the runs
--   day: UTC day on which the calls began
--   provider: who was asked
--   model: who was asked
--   calls: [calls] attempts, failed ones included
--   failed: [calls] that gave no answer
--   tokens_in: [tokens] sent
--   tokens_out: [tokens] received
--   cost_usd: [USD] by the table of prices
CREATE VIEW cost_per_model_day AS
SELECT
    project,
    CAST(started_at AT TIME ZONE 'UTC' AS DATE) AS day,
    provider,
    model,
    count(*) AS calls,
    count(*) FILTER (WHERE status <> 'ok') AS failed,
    sum(tokens_in)::BIGINT AS tokens_in,
    sum(tokens_out)::BIGINT AS tokens_out,
    sum(cost_usd) AS cost_usd
FROM llm_calls
GROUP BY ALL
ORDER BY project, day, cost_usd DESC, provider, model;
