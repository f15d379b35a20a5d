-- name: list_runs
-- Grain: a complete run, of $project or (NULL) of any, that began at $since or later or (NULL) ever, with its findings
-- counted. Given $fingerprints (a list, or NULL) only runs that told of one, with what they said: finding_status and
-- finding_occurrences. Order: newest first, at most $limit.
SELECT runs.*, new, recurring, regressed, resolved, finding_status, finding_occurrences
FROM runs
LEFT JOIN (
    SELECT
        run_id,
        count(*) FILTER (WHERE status = 'new') AS new,
        count(*) FILTER (WHERE status = 'recurring') AS recurring,
        count(*) FILTER (WHERE status = 'regressed') AS regressed,
        count(*) FILTER (WHERE status = 'resolved') AS resolved
    FROM findings
    GROUP BY run_id
) USING (run_id)
LEFT JOIN (
    SELECT run_id, arg_max(status, occurrences) AS finding_status, sum(occurrences)::BIGINT AS finding_occurrences
    FROM findings
    WHERE list_contains($fingerprints, fingerprint)
    GROUP BY run_id
) USING (run_id)
WHERE ($project IS NULL OR runs.project = $project)
    AND ($since IS NULL OR started_at >= $since)
    AND ($fingerprints IS NULL OR finding_status IS NOT NULL)
ORDER BY started_at DESC, run_id DESC
LIMIT $limit

-- name: find_latest
-- Grain: the newest run that looked for failures, of $project or (NULL) of any. One row or none.
SELECT run_id
FROM latest_run
WHERE $project IS NULL OR project = $project
ORDER BY started_at DESC, run_id DESC
LIMIT 1

-- name: find_runs
-- Grain: a complete run whose id starts with $prefix, of $project or (NULL) of any. Order: newest first.
SELECT run_id
FROM runs
WHERE starts_with(run_id, lower($prefix)) AND ($project IS NULL OR project = $project)
ORDER BY started_at DESC, run_id DESC

-- name: read_run
-- Grain: the run $run_id. One row or none.
SELECT *
FROM runs
WHERE run_id = $run_id

-- name: read_files
-- Grain: an input file of the run $run_id. Order: path.
SELECT *
FROM files
WHERE run_id = $run_id
ORDER BY path

-- name: read_findings
-- Grain: a finding of the run $run_id. Order: resolved ones last, fingerprint.
SELECT *
FROM findings
WHERE run_id = $run_id
ORDER BY status = 'resolved', fingerprint

-- name: name_runs
-- Grain: a complete run, as a shell offers it. Order: newest first, 30 at most.
SELECT run_id, source, started_at
FROM runs
ORDER BY started_at DESC, run_id DESC
LIMIT 30

-- name: read_metrics
-- Grain: a number of one of the runs $run_ids. No order.
SELECT run_id, name, value
FROM metrics
WHERE list_contains($run_ids, run_id) AND value IS NOT NULL

-- name: list_run_ids
-- Grain: a complete run that is no dry run, of $project or (NULL) of any. Order: oldest first.
SELECT run_id
FROM runs
WHERE status <> 'dry_run' AND ($project IS NULL OR project = $project)
ORDER BY started_at, run_id
