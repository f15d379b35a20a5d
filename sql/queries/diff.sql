-- name: read_sightings
-- Grain: one of the runs $run_ids (a list), a fingerprint and a place where the logs of jobs that did not pass show it,
-- failures that the token budget left no room for included; a place is a location (see files.location), NULL for standard input. No order.
WITH all_files AS (
    SELECT * FROM files
    UNION ALL BY NAME
    -- A warehouse that no run has migrated yet lacks this column, which is as if it were empty.
    SELECT NULL::VARCHAR[] AS unshown WHERE false
),
places AS (
    SELECT run_id, path, location, unshown
    FROM all_files
    WHERE list_contains($run_ids, run_id) AND outcome <> 'passed'
)
SELECT run_id, fingerprint, location, count(*) AS occurrences
FROM (
    SELECT run_id, chunks.fingerprint, location
    FROM chunks
    JOIN places USING (run_id, path)
    UNION ALL
    SELECT run_id, unnest(unshown), location
    FROM places
)
GROUP BY ALL

-- name: read_successions
-- Grain: a fingerprint and one that it took the place of when the rules of fingerprints changed, of any project. No order.
WITH all_findings AS (
    SELECT * FROM findings
    UNION ALL BY NAME
    SELECT NULL::VARCHAR[] AS formerly WHERE false
)
SELECT DISTINCT fingerprint, unnest(formerly) AS former
FROM all_findings

-- name: find_audits
-- Grain: a run of the main job, of $project or (NULL) of any. Order: newest first, at most $limit.
WITH all_runs AS (
    SELECT * FROM runs
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS kind WHERE false
)
SELECT run_id, project
FROM all_runs
WHERE status <> 'dry_run' AND coalesce(kind, 'audit') = 'audit' AND ($project IS NULL OR project = $project)
ORDER BY started_at DESC, run_id DESC
LIMIT $limit

-- name: find_run_before
-- Grain: the last run of the same project and kind that began before the run $run_id. One row or none.
WITH all_runs AS (
    SELECT * FROM runs
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS kind WHERE false
)
SELECT earlier.run_id
FROM all_runs AS earlier
JOIN all_runs AS this
    ON this.run_id = $run_id
    AND earlier.project = this.project
    AND coalesce(earlier.kind, 'audit') = coalesce(this.kind, 'audit')
    AND (earlier.started_at, earlier.run_id) < (this.started_at, this.run_id)
WHERE earlier.status <> 'dry_run'
ORDER BY earlier.started_at DESC, earlier.run_id DESC
LIMIT 1
