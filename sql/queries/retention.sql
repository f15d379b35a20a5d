-- name: list_complete
-- Grain: a run that has written all its rows. No order.
SELECT run_id
FROM runs

-- name: find_old_runs
-- Grain: a run of $project or (NULL) of any that began before $before and is not the newest that looked for failures of
-- its project. Order: oldest first.
SELECT project, run_id
FROM runs
WHERE started_at < $before::TIMESTAMPTZ
    AND ($project IS NULL OR project = $project)
    AND run_id NOT IN (SELECT run_id FROM latest_run)
ORDER BY started_at, run_id

-- name: find_tellings
-- Grain: one of $fingerprints of $project, and the run that told of it last. No order.
SELECT run_id, fingerprint
FROM findings
JOIN runs USING (run_id)
WHERE findings.project = $project
    AND runs.status <> 'dry_run'
    AND fingerprint IN (SELECT unnest($fingerprints::VARCHAR[]))
QUALIFY row_number() OVER (PARTITION BY fingerprint ORDER BY started_at DESC, run_id DESC) = 1

-- name: find_sightings
-- Grain: one of the pairs in $fingerprints and $locations (lists of one length) of $project, and a file in the last run
-- that saw the one in the other. No order.
WITH wanted AS (
    SELECT unnest($fingerprints::VARCHAR[]) AS fingerprint, unnest($locations::VARCHAR[]) AS location
),
sightings AS (
    SELECT run_id, fingerprint, path
    FROM chunks
    WHERE project = $project
    UNION ALL
    SELECT run_id, unnest(unshown), path
    FROM files
    WHERE project = $project
)
SELECT run_id, sightings.fingerprint, path
FROM sightings
JOIN runs USING (run_id)
JOIN files USING (run_id, path)
JOIN wanted ON wanted.fingerprint = sightings.fingerprint AND wanted.location = files.location
WHERE runs.status <> 'dry_run'
QUALIFY rank() OVER (
    PARTITION BY sightings.fingerprint, files.location ORDER BY runs.started_at DESC, run_id DESC
) = 1

-- name: find_calls
-- Grain: the run $run_id, if it wrote down calls. One row or none.
SELECT DISTINCT run_id
FROM llm_calls
WHERE run_id = $run_id
