-- What `bifrost-flow sql --query NAME` runs. Each takes $project (NULL: any) and $since (NULL: ever); what else it takes
-- stands in lines `-- Parameter: name TYPE = default: meaning`. A line for people is `query.<name>` in the locales.

-- name: trend
-- Grain: a project and UTC day on which a run began. Order: project, day.
SELECT *
FROM trend_per_day
WHERE ($project IS NULL OR project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR day >= CAST($since::TIMESTAMPTZ AT TIME ZONE 'UTC' AS DATE))
ORDER BY project, day

-- name: open
-- Grain: a project and fingerprint whose last telling is not that it is resolved. Order: project, most severe first,
-- longest there first. $since is of the last time that it was seen.
WITH told AS (
    SELECT findings.*, runs.started_at
    FROM findings
    JOIN runs USING (run_id)
    WHERE ($project IS NULL OR findings.project = $project) AND runs.status <> 'dry_run'
),
latest AS (
    SELECT *
    FROM told
    QUALIFY row_number() OVER (PARTITION BY project, fingerprint ORDER BY started_at DESC, run_id DESC) = 1
),
spells AS (
    SELECT project, fingerprint, max(started_at) AS since, count(*) AS came
    FROM told
    WHERE status IN ('new', 'regressed')
    GROUP BY project, fingerprint
)
SELECT
    project,
    fingerprint,
    severity,
    category,
    title,
    coalesce(since, first_seen) AS there_since,
    last_seen,
    coalesce(came, 1) AS came,
    occurrences
FROM latest
LEFT JOIN spells USING (project, fingerprint)
WHERE status <> 'resolved' AND ($since::TIMESTAMPTZ IS NULL OR last_seen >= $since::TIMESTAMPTZ)
ORDER BY
    project,
    list_position(['critical', 'error', 'warning', 'info', 'debug', 'trace'], severity),
    there_since,
    fingerprint

-- name: newest
-- Grain: a telling that a failure is new, or back after it was resolved. Order: newest run first, most severe first.
-- Parameter: limit BIGINT = 20: rows at most
SELECT
    runs.started_at,
    findings.project,
    findings.status,
    findings.severity,
    findings.category,
    findings.title,
    findings.occurrences,
    findings.fingerprint,
    run_id
FROM findings
JOIN runs USING (run_id)
WHERE findings.status IN ('new', 'regressed')
    AND ($project IS NULL OR findings.project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR runs.started_at >= $since::TIMESTAMPTZ)
ORDER BY
    runs.started_at DESC,
    run_id DESC,
    list_position(['critical', 'error', 'warning', 'info', 'debug', 'trace'], findings.severity),
    findings.fingerprint
LIMIT $limit

-- name: noisiest
-- Grain: a project and fingerprint, over the runs since $since; title, category, severity and status as last told.
-- Order: most occurrences first, whatever the project.
-- Parameter: limit BIGINT = 20: rows at most
SELECT
    findings.project,
    fingerprint,
    arg_max(title, runs.started_at) AS title,
    arg_max(category, runs.started_at) AS category,
    arg_max(severity, runs.started_at) AS severity,
    sum(occurrences)::BIGINT AS occurrences,
    count(*) FILTER (WHERE findings.status <> 'resolved') AS runs,
    arg_max(findings.status, runs.started_at) AS status
FROM findings
JOIN runs USING (run_id)
WHERE ($project IS NULL OR findings.project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR runs.started_at >= $since::TIMESTAMPTZ)
GROUP BY findings.project, fingerprint
HAVING sum(occurrences) > 0
ORDER BY occurrences DESC, findings.project, fingerprint
LIMIT $limit

-- name: categories
-- Grain: a project and category of failures. Order: project, most failures first.
-- A failure counts once, in the category that was last told; `open` are those that are not resolved.
WITH told AS (
    SELECT
        findings.project,
        fingerprint,
        arg_max(category, runs.started_at) AS category,
        arg_max(findings.status, runs.started_at) AS status,
        sum(occurrences)::BIGINT AS occurrences
    FROM findings
    JOIN runs USING (run_id)
    WHERE ($project IS NULL OR findings.project = $project)
        AND ($since::TIMESTAMPTZ IS NULL OR runs.started_at >= $since::TIMESTAMPTZ)
    GROUP BY findings.project, fingerprint
)
SELECT
    project,
    category,
    count(*) AS failures,
    count(*) FILTER (WHERE status <> 'resolved') AS open,
    sum(occurrences)::BIGINT AS occurrences,
    round(count(*) / sum(count(*)) OVER (PARTITION BY project), 3) AS share
FROM told
GROUP BY project, category
ORDER BY project, failures DESC, category

-- name: flaky
-- Grain: a project and fingerprint that came at least $least times (new, then back after it was resolved).
-- Order: what came most often first.
-- Parameter: least BIGINT = 2: times that it came at least
-- Parameter: limit BIGINT = 20: rows at most
SELECT
    findings.project,
    fingerprint,
    arg_max(title, runs.started_at) AS title,
    arg_max(category, runs.started_at) AS category,
    count(*) FILTER (WHERE findings.status IN ('new', 'regressed')) AS came,
    count(*) FILTER (WHERE findings.status = 'resolved') AS went,
    count(*) FILTER (WHERE findings.status <> 'resolved') AS runs,
    max(last_seen) AS last_seen,
    arg_max(findings.status, runs.started_at) AS status
FROM findings
JOIN runs USING (run_id)
WHERE ($project IS NULL OR findings.project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR runs.started_at >= $since::TIMESTAMPTZ)
GROUP BY findings.project, fingerprint
HAVING came >= $least
ORDER BY came DESC, went DESC, last_seen DESC, findings.project, fingerprint
LIMIT $limit

-- name: nights_to_resolve
-- Grain: a project and category; its spells, each from the run that told of a failure as new or back to the one that told
-- that it is resolved, that began since $since. Nights are UTC days between the two. Order: project, longest mean first.
WITH turns AS (
    SELECT
        findings.project,
        category,
        findings.status,
        runs.started_at,
        lead(runs.started_at) OVER spell AS ended_at
    FROM findings
    JOIN runs USING (run_id)
    WHERE findings.status IN ('new', 'regressed', 'resolved') AND ($project IS NULL OR findings.project = $project)
    WINDOW spell AS (PARTITION BY findings.project, fingerprint ORDER BY runs.started_at, run_id)
),
spells AS (
    SELECT
        project,
        category,
        date_diff(
            'day',
            CAST(started_at AT TIME ZONE 'UTC' AS DATE),
            CAST(ended_at AT TIME ZONE 'UTC' AS DATE)
        ) AS nights
    FROM turns
    WHERE status <> 'resolved' AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since::TIMESTAMPTZ)
)
SELECT
    project,
    category,
    count(nights) AS resolved,
    round(avg(nights), 2) AS mean_nights,
    median(nights) AS median_nights,
    max(nights) AS longest_nights,
    count(*) - count(nights) AS still_open
FROM spells
GROUP BY project, category
ORDER BY project, mean_nights DESC NULLS LAST, category

-- name: failing_jobs
-- Grain: a project and job (where it has no name, its log's), over its logs. Order: highest share of failed ones first.
-- Parameter: limit BIGINT = 20: rows at most
SELECT
    files.project,
    coalesce(job, location, path) AS job,
    count(*) AS logs,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    count(*) FILTER (WHERE outcome = 'passed') AS passed,
    round(failed / logs, 3) AS failed_share,
    max(runs.started_at) FILTER (WHERE outcome = 'failed') AS last_failed
FROM files
JOIN runs USING (run_id)
WHERE ($project IS NULL OR files.project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR runs.started_at >= $since::TIMESTAMPTZ)
GROUP BY files.project, coalesce(job, location, path)
HAVING failed > 0
ORDER BY failed_share DESC, failed DESC, files.project, job
LIMIT $limit

-- name: unread_files
-- Grain: a project, path, status and error of files that could not be read, or not to their end. Order: last one first.
-- Parameter: limit BIGINT = 100: rows at most
SELECT
    files.project,
    path,
    files.status,
    error,
    count(*) AS runs,
    max(runs.started_at) AS last_run
FROM files
JOIN runs USING (run_id)
WHERE files.status NOT IN ('read', 'empty')
    AND ($project IS NULL OR files.project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR runs.started_at >= $since::TIMESTAMPTZ)
GROUP BY files.project, path, files.status, error
ORDER BY last_run DESC, files.project, path, files.status, error
LIMIT $limit

-- name: cost
-- Grain: a project, UTC day, provider and model that was called. Order: project, day, dearest first.
SELECT *
FROM cost_per_model_day
WHERE ($project IS NULL OR project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR day >= CAST($since::TIMESTAMPTZ AT TIME ZONE 'UTC' AS DATE))
ORDER BY project, day, cost_usd DESC, provider, model

-- name: models
-- Grain: a provider and model that was called. Order: most calls first. Latencies are of calls that gave an answer.
SELECT
    provider,
    model,
    count(*) AS calls,
    count(*) FILTER (WHERE status <> 'ok') AS failed,
    round(failed / calls, 3) AS failed_share,
    round(quantile_cont(latency_ms, 0.5) FILTER (WHERE status = 'ok')) AS median_ms,
    round(quantile_cont(latency_ms, 0.95) FILTER (WHERE status = 'ok')) AS p95_ms,
    sum(tokens_in)::BIGINT AS tokens_in,
    sum(tokens_out)::BIGINT AS tokens_out,
    sum(cost_usd) AS cost_usd
FROM llm_calls
WHERE ($project IS NULL OR project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since::TIMESTAMPTZ)
GROUP BY provider, model
ORDER BY calls DESC, provider, model

-- name: slowest
-- Grain: an attempt at a model call. Order: slowest first.
-- Parameter: limit BIGINT = 20: rows at most
SELECT *
FROM slowest_calls
WHERE ($project IS NULL OR project = $project)
    AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since::TIMESTAMPTZ)
ORDER BY latency_ms DESC, started_at
LIMIT $limit

-- name: cache_savings
-- Grain: a project and UTC day on which a run began. Order: project, day.
-- `saved_usd` is an estimate: the tokens saved at what a token cost the project in these runs; NULL if nothing was paid.
WITH days AS (
    SELECT
        project,
        CAST(started_at AT TIME ZONE 'UTC' AS DATE) AS day,
        sum(groups)::BIGINT AS failures,
        sum(cache_hits)::BIGINT AS cache_hits,
        sum(llm_calls)::BIGINT AS llm_calls,
        sum(tokens_saved)::BIGINT AS tokens_saved,
        sum(tokens_in + tokens_out)::BIGINT AS tokens_used,
        sum(cost_usd) AS cost_usd
    FROM runs
    WHERE status <> 'dry_run'
        AND ($project IS NULL OR project = $project)
        AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since::TIMESTAMPTZ)
    GROUP BY ALL
)
SELECT
    project,
    day,
    failures,
    cache_hits,
    llm_calls,
    round(cache_hits / nullif(failures, 0), 3) AS hit_share,
    tokens_saved,
    round(tokens_saved * nullif(sum(cost_usd) OVER project_days, 0) / sum(tokens_used) OVER project_days, 4) AS saved_usd
FROM days
WINDOW project_days AS (PARTITION BY project)
ORDER BY project, day
