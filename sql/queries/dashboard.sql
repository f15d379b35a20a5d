-- name: list_findings
-- Grain: a project and fingerprint that a run since $since (NULL: ever) told of, as the last of them did; `runs` told of
-- it as present, `seen` is on how many UTC days they did, `days` are the last 30 of these, with the occurrences of each.
-- Order: last seen first, $limit at most.
WITH told AS (
    SELECT findings.*, runs.started_at, CAST(runs.started_at AT TIME ZONE 'UTC' AS DATE) AS day
    FROM findings
    JOIN runs USING (run_id)
    WHERE ($project IS NULL OR findings.project = $project)
        AND ($since::TIMESTAMPTZ IS NULL OR runs.started_at >= $since::TIMESTAMPTZ)
        AND runs.status <> 'dry_run'
),
latest AS (
    SELECT *
    FROM told
    QUALIFY row_number() OVER (PARTITION BY project, fingerprint ORDER BY started_at DESC, run_id DESC) = 1
),
daily AS (
    SELECT project, fingerprint, day, sum(occurrences)::BIGINT AS occurrences
    FROM told
    WHERE status <> 'resolved'
    GROUP BY ALL
),
sightings AS (
    SELECT
        project,
        fingerprint,
        count(*) AS seen,
        list_reverse(
            list(struct_pack(day := CAST(day AS VARCHAR), occurrences := occurrences) ORDER BY day DESC)[:30]
        ) AS days
    FROM daily
    GROUP BY ALL
)
SELECT
    project,
    fingerprint,
    run_id,
    status,
    severity,
    category,
    title,
    root_cause,
    suggestion,
    evidence[1].path AS path,
    evidence[1].line AS line,
    first_seen,
    last_seen,
    coalesce(seen, 0) AS seen,
    coalesce(days, []) AS days
FROM latest
LEFT JOIN sightings USING (project, fingerprint)
ORDER BY last_seen DESC, project, fingerprint
LIMIT $limit

-- name: list_costs
-- Grain: a UTC day, project, provider and model that was called since $since (NULL: ever). Order: day, dearest first.
SELECT
    CAST(day AS VARCHAR) AS day,
    project,
    provider,
    model,
    sum(calls)::BIGINT AS calls,
    sum(tokens_in)::BIGINT AS tokens_in,
    sum(tokens_out)::BIGINT AS tokens_out,
    sum(cost_usd) AS cost_usd
FROM cost_per_model_day
WHERE ($project IS NULL OR project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR day >= CAST($since::TIMESTAMPTZ AT TIME ZONE 'UTC' AS DATE))
GROUP BY ALL
ORDER BY day, project, cost_usd DESC, provider, model
