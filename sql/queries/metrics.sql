-- name: sum_runs
-- Grain: project and status of the runs of $project (NULL: any), of $run_id alone unless that is NULL. No order.
SELECT
    project,
    status,
    count(*) AS runs,
    sum(cache_hits)::DOUBLE AS cache_hits,
    sum(tokens_saved)::DOUBLE AS tokens_saved,
    sum(lines)::DOUBLE AS lines
FROM runs
WHERE
    status <> 'dry_run'
    AND ($project IS NULL OR project = $project)
    AND ($run_id IS NULL OR run_id = $run_id)
GROUP BY ALL

-- name: sum_errors
-- Grain: a project. `known` is 0 where runs of older versions did not say what failed; the rest failed after the
-- tables were written. No order.
SELECT
    project,
    sum(coalesce(errors_read, 0))::DOUBLE AS errors_read,
    sum(coalesce(errors_analyse, 0))::DOUBLE AS errors_analyse,
    sum(if(errors_read IS NULL, 0, errors - errors_read - errors_analyse))::DOUBLE AS errors_deliver,
    sum(if(errors_read IS NULL, errors, 0))::DOUBLE AS errors_other
FROM runs
LEFT JOIN (
    SELECT
        run_id,
        any_value(value) FILTER (WHERE name = 'errors_read') AS errors_read,
        any_value(value) FILTER (WHERE name = 'errors_analyse') AS errors_analyse
    FROM metrics
    GROUP BY run_id
) USING (run_id)
WHERE
    status <> 'dry_run'
    AND ($project IS NULL OR project = $project)
    AND ($run_id IS NULL OR run_id = $run_id)
GROUP BY project

-- name: bucket_runs
-- Grain: a project and the least of $bounds (NULL: none) that a run's seconds are not above. No order.
SELECT
    project,
    list_min(list_filter($bounds, lambda bound: bound >= seconds)) AS bucket,
    count(*) AS runs,
    sum(seconds) AS total
FROM (SELECT *, epoch(finished_at) - epoch(started_at) AS seconds FROM runs)
WHERE
    status <> 'dry_run'
    AND seconds IS NOT NULL
    AND ($project IS NULL OR project = $project)
    AND ($run_id IS NULL OR run_id = $run_id)
GROUP BY ALL

-- name: count_files
-- Grain: project and status of input files. No order.
SELECT project, status, count(*) AS files
FROM files
WHERE ($project IS NULL OR project = $project) AND ($run_id IS NULL OR run_id = $run_id)
GROUP BY ALL

-- name: bucket_files
-- Grain: a project and the least of $bounds (NULL: none) that a file's bytes are not above. No order.
SELECT
    project,
    list_min(list_filter($bounds, lambda bound: bound >= bytes)) AS bucket,
    count(*) AS files,
    sum(bytes)::DOUBLE AS total
FROM files
WHERE
    bytes IS NOT NULL
    AND ($project IS NULL OR project = $project)
    AND ($run_id IS NULL OR run_id = $run_id)
GROUP BY ALL

-- name: sum_calls
-- Grain: project, provider, model and status of model calls, those of killed runs included. No order.
SELECT
    project,
    provider,
    model,
    status,
    count(*) AS calls,
    sum(tokens_in)::DOUBLE AS tokens_in,
    sum(tokens_out)::DOUBLE AS tokens_out,
    sum(cost_usd) AS cost_usd
FROM llm_calls
WHERE ($project IS NULL OR project = $project) AND ($run_id IS NULL OR run_id = $run_id)
GROUP BY ALL

-- name: bucket_calls
-- Grain: project, provider, model and the least of $bounds (NULL: none) that a call's seconds are not above.
-- No order.
SELECT
    project,
    provider,
    model,
    list_min(list_filter($bounds, lambda bound: bound >= latency_ms / 1000)) AS bucket,
    count(*) AS calls,
    sum(latency_ms / 1000) AS total
FROM llm_calls
WHERE
    latency_ms IS NOT NULL
    AND ($project IS NULL OR project = $project)
    AND ($run_id IS NULL OR run_id = $run_id)
GROUP BY ALL

-- name: bucket_answers
-- Grain: project, provider, model and the least of $bounds (NULL: none) that an answer's bytes are not above, of
-- answers that the cache still has. No order.
SELECT
    project,
    provider,
    model,
    list_min(list_filter($bounds, lambda bound: bound >= bytes)) AS bucket,
    count(*) AS answers,
    sum(bytes)::DOUBLE AS total
FROM llm_calls
INNER JOIN (
    SELECT cache_key, max(octet_length(encode(response))) AS bytes
    FROM cache
    GROUP BY cache_key
) USING (cache_key)
WHERE
    status = 'ok'
    AND ($project IS NULL OR project = $project)
    AND ($run_id IS NULL OR run_id = $run_id)
GROUP BY ALL

-- name: count_findings
-- Grain: project, status, severity and category of distinct failures of each run. No order.
SELECT project, status, severity, category, count(*) AS findings
FROM findings
WHERE ($project IS NULL OR project = $project) AND ($run_id IS NULL OR run_id = $run_id)
GROUP BY ALL

-- name: read_last_runs
-- Grain: a project, with its last run (or $run_id) and when one last ended well. Order: project.
SELECT
    project,
    run_id,
    status,
    epoch(coalesce(finished_at, started_at)) AS ended,
    epoch(finished_at) - epoch(started_at) AS seconds,
    errors::DOUBLE AS errors,
    cost_usd,
    max(epoch(coalesce(finished_at, started_at))) FILTER (WHERE list_contains($successes, status))
        OVER (PARTITION BY project) AS succeeded
FROM runs
WHERE
    status <> 'dry_run'
    AND ($project IS NULL OR project = $project)
    AND ($run_id IS NULL OR run_id = $run_id)
QUALIFY row_number() OVER (PARTITION BY project ORDER BY started_at DESC, run_id DESC) = 1
ORDER BY project

-- name: count_last_findings
-- Grain: run, status and severity of the findings of $run_ids. No order.
SELECT run_id, status, severity, count(*) AS findings
FROM findings
WHERE list_contains($run_ids, run_id)
GROUP BY ALL
