-- name: list_complete
-- Grain: a run that has written all its rows. No order.
SELECT run_id
FROM runs

-- name: find_old_runs
-- Grain: a run of $project or (NULL) of any that began before $before and is not the newest that looked for failures of
-- its project. Order: oldest first.
SELECT run_id
FROM runs
WHERE started_at < $before::TIMESTAMPTZ
    AND ($project IS NULL OR project = $project)
    AND run_id NOT IN (SELECT run_id FROM latest_run)
ORDER BY started_at, run_id

-- name: find_open_tellings
-- Grain: a fingerprint that is not resolved, and the run that told of it last. No order.
WITH told AS (
    SELECT findings.project, run_id, fingerprint, findings.status, started_at
    FROM findings
    JOIN runs USING (run_id)
    WHERE runs.status <> 'dry_run' AND ($project IS NULL OR findings.project = $project)
    QUALIFY row_number() OVER (PARTITION BY findings.project, fingerprint ORDER BY started_at DESC, run_id DESC) = 1
)
SELECT run_id, fingerprint
FROM told
WHERE status <> 'resolved'

-- name: find_open_sightings
-- Grain: a fingerprint that is not resolved, and a file in the last run that saw it in that location, where no later run
-- read the location whole. See history.sql, which asks this when a run is compared with earlier ones. No order.
WITH told AS (
    SELECT findings.project, run_id, fingerprint, findings.status, started_at
    FROM findings
    JOIN runs USING (run_id)
    WHERE runs.status <> 'dry_run' AND ($project IS NULL OR findings.project = $project)
    QUALIFY row_number() OVER (PARTITION BY findings.project, fingerprint ORDER BY started_at DESC, run_id DESC) = 1
),
numbered AS (
    SELECT project, run_id, row_number() OVER (PARTITION BY project ORDER BY started_at, run_id) AS number
    FROM runs
    WHERE status <> 'dry_run' AND ($project IS NULL OR project = $project)
),
seen AS (
    SELECT chunks.project, chunks.fingerprint, files.location, number, chunks.run_id, chunks.path
    FROM chunks
    JOIN numbered ON numbered.run_id = chunks.run_id
    JOIN files ON files.run_id = chunks.run_id AND files.path = chunks.path
    JOIN told ON told.project = chunks.project AND told.fingerprint = chunks.fingerprint
    WHERE files.location IS NOT NULL AND told.status <> 'resolved'
    QUALIFY number = max(number) OVER (PARTITION BY chunks.project, chunks.fingerprint, files.location)
),
read_whole AS (
    SELECT project, location, max(number) AS number
    FROM (
        SELECT files.project, files.location, number
        FROM files
        JOIN numbered USING (run_id)
        GROUP BY files.project, files.location, number
        HAVING bool_and(files.status = 'read')
    )
    GROUP BY project, location
)
SELECT DISTINCT seen.run_id, seen.fingerprint, seen.path
FROM seen
LEFT JOIN read_whole USING (project, location)
WHERE read_whole.number IS NULL OR read_whole.number <= seen.number

-- name: find_calls
-- Grain: the run $run_id, if it wrote down calls. One row or none.
SELECT DISTINCT run_id
FROM llm_calls
WHERE run_id = $run_id
