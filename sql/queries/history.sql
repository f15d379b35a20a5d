-- name: read_open_findings
-- Grain: a fingerprint of $project that is not resolved, as the last run that told of it did. No order.
WITH numbered AS (
    SELECT run_id, row_number() OVER (ORDER BY started_at, run_id) AS number
    FROM runs
    WHERE project = $project AND status <> 'dry_run'
),
told AS (
    SELECT fingerprint, max(number) AS number
    FROM findings
    JOIN numbered USING (run_id)
    GROUP BY fingerprint
)
SELECT findings.*
FROM told
JOIN numbered USING (number)
JOIN findings USING (run_id, fingerprint)
WHERE findings.status <> 'resolved'

-- name: read_fingerprints
-- Grain: a fingerprint that any earlier run of $project told of; first and last time, and the locations (see
-- files.location) where it still is: seen there, and not gone in a later run that read all the files there. No order.
WITH numbered AS (
    SELECT run_id, row_number() OVER (ORDER BY started_at, run_id) AS number
    FROM runs
    WHERE project = $project AND status <> 'dry_run'
),
told AS (
    SELECT fingerprint, min(first_seen) AS first_seen, max(last_seen) AS last_seen
    FROM findings
    JOIN numbered USING (run_id)
    GROUP BY fingerprint
),
seen AS (
    SELECT chunks.fingerprint, files.location, max(number) AS number
    FROM chunks
    JOIN numbered USING (run_id)
    JOIN files ON files.run_id = chunks.run_id AND files.path = chunks.path
    WHERE files.location IS NOT NULL
    GROUP BY chunks.fingerprint, files.location
),
read_whole AS (
    SELECT location, max(number) AS number
    FROM (
        SELECT files.location, number
        FROM files
        JOIN numbered USING (run_id)
        GROUP BY files.location, number
        HAVING bool_and(files.status = 'read')
    )
    GROUP BY location
),
still AS (
    SELECT seen.fingerprint, list(seen.location) AS locations
    FROM seen
    LEFT JOIN read_whole USING (location)
    WHERE read_whole.number IS NULL OR read_whole.number <= seen.number
    GROUP BY seen.fingerprint
)
SELECT fingerprint, first_seen, last_seen, coalesce(locations, []) AS locations
FROM told
LEFT JOIN still USING (fingerprint)
