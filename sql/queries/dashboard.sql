-- name: list_runs
-- Grain: a complete run that began at $since or later (NULL: ever), of $project or (NULL) of any, no dry run, with its
-- findings counted; `total` says how many such runs there are. Order: newest first, $limit at most.
WITH chosen AS (
    SELECT *, count(*) OVER () AS total
    FROM runs
    WHERE ($project IS NULL OR project = $project)
        AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since::TIMESTAMPTZ)
        AND status <> 'dry_run'
    ORDER BY started_at DESC, run_id DESC
    LIMIT $limit
),
counts AS (
    SELECT
        run_id,
        count(*) FILTER (WHERE status = 'new') AS new,
        count(*) FILTER (WHERE status = 'regressed') AS regressed,
        count(*) FILTER (WHERE status = 'recurring') AS recurring,
        count(*) FILTER (WHERE status = 'resolved') AS resolved
    FROM findings
    GROUP BY run_id
)
SELECT
    run_id,
    project,
    source,
    started_at,
    status,
    coalesce(new, 0) AS new,
    coalesce(regressed, 0) AS regressed,
    coalesce(recurring, 0) AS recurring,
    coalesce(resolved, 0) AS resolved,
    files,
    llm_calls,
    cache_hits,
    cost_usd,
    errors,
    total
FROM chosen
LEFT JOIN counts USING (run_id)
ORDER BY started_at DESC, run_id DESC

-- name: list_days
-- Grain: a project and UTC day on which runs began, since $since (NULL: ever), with its distinct failures: what was new
-- that day counts as new, what had come back as regressed, all else as the day's last run has it. Order: day, project.
WITH chosen AS (
    SELECT *, CAST(started_at AT TIME ZONE 'UTC' AS DATE) AS day
    FROM runs
    WHERE ($project IS NULL OR project = $project)
        AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since::TIMESTAMPTZ)
        AND status <> 'dry_run'
),
run_days AS (
    SELECT project, day, count(*) AS runs, sum(tokens_saved)::BIGINT AS tokens_saved
    FROM chosen
    GROUP BY project, day
),
failures AS (
    SELECT
        chosen.project,
        chosen.day,
        CASE
            WHEN bool_or(findings.status = 'new') THEN 'new'
            WHEN bool_or(findings.status = 'regressed') THEN 'regressed'
            ELSE arg_max(findings.status, chosen.started_at)
        END AS status
    FROM findings
    JOIN chosen USING (run_id)
    GROUP BY chosen.project, chosen.day, fingerprint
),
counts AS (
    SELECT
        project,
        day,
        count(*) FILTER (WHERE status = 'new') AS new,
        count(*) FILTER (WHERE status = 'regressed') AS regressed,
        count(*) FILTER (WHERE status = 'recurring') AS recurring,
        count(*) FILTER (WHERE status = 'resolved') AS resolved
    FROM failures
    GROUP BY project, day
)
SELECT
    CAST(day AS VARCHAR) AS day,
    project,
    coalesce(new, 0) AS new,
    coalesce(regressed, 0) AS regressed,
    coalesce(recurring, 0) AS recurring,
    coalesce(resolved, 0) AS resolved,
    tokens_saved
FROM run_days
LEFT JOIN counts USING (project, day)
ORDER BY day, project

-- name: list_findings
-- Grain: a project and fingerprint that a run since $since (NULL: ever) told of, as the last of them did; `seen` is on
-- how many UTC days runs found it present, `days` are those of the last $window days up to the newest run of all:
-- how many days ago, and how often it occurred; `total` says how many such fingerprints there are.
-- Order: open ones first, last seen first, $limit at most.
WITH chosen AS (
    SELECT run_id, started_at, CAST(started_at AT TIME ZONE 'UTC' AS DATE) AS day
    FROM runs
    WHERE ($project IS NULL OR project = $project)
        AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since::TIMESTAMPTZ)
        AND status <> 'dry_run'
),
told AS (
    SELECT findings.project, fingerprint, run_id, status, last_seen, occurrences, started_at, day
    FROM findings
    JOIN chosen USING (run_id)
),
latest AS (
    SELECT project, fingerprint, last_told.run_id AS run_id, count(*) OVER () AS total
    FROM (
        SELECT
            project,
            fingerprint,
            arg_max(struct_pack(run_id := run_id, status := status, last_seen := last_seen), (started_at, run_id))
                AS last_told
        FROM told
        GROUP BY project, fingerprint
    )
    ORDER BY last_told.status = 'resolved', last_told.last_seen DESC, project, fingerprint
    LIMIT $limit
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
        list(struct_pack(ago := (SELECT max(day) FROM chosen) - day, occurrences := occurrences) ORDER BY day)
            FILTER (WHERE (SELECT max(day) FROM chosen) - day < $window) AS days
    FROM daily
    GROUP BY ALL
)
SELECT
    project,
    fingerprint,
    run_id,
    findings.status,
    severity,
    category,
    title,
    root_cause,
    suggestion,
    evidence[1].path AS path,
    evidence[1].line AS line,
    evidence[1].quote AS quote,
    occurrences,
    first_seen,
    last_seen,
    coalesce(seen, 0) AS seen,
    coalesce(days, []) AS days,
    total
FROM latest
JOIN findings USING (project, fingerprint, run_id)
LEFT JOIN sightings USING (project, fingerprint)
ORDER BY findings.status = 'resolved', last_seen DESC, project, fingerprint

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
