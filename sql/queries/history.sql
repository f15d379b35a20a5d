-- name: read_open_findings
-- Grain: a fingerprint of $project that is not resolved, as the last run told of it that began before $before, or else
-- the last of those that began later and are done. Only runs of $kinds (a list) count. No order.
WITH
-- A warehouse that no run has migrated yet lacks these columns, which is as if they were empty.
all_runs AS (
    SELECT * FROM runs
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS kind, NULL::BOOLEAN AS filtered WHERE false
),
numbered AS (
    SELECT
        run_id,
        started_at >= $before AS is_later,
        row_number() OVER (ORDER BY started_at, run_id) AS number
    FROM all_runs
    WHERE project = $project AND status <> 'dry_run' AND list_contains($kinds, coalesce(kind, 'audit'))
),
told AS (
    SELECT fingerprint, coalesce(max(number) FILTER (WHERE NOT is_later), max(number)) AS number
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
-- Grain: a fingerprint that any run of $project and $kinds told of, unless another has taken its place since; first and
-- last time; the locations (see files.location) where it still is: seen there, and not gone in a later run that read all
-- the files there. They are empty when all were read clean, and NULL where nothing can tell that it is gone: it was never
-- seen at a location, or a run that began at $before or later knows of it. $min_score is that of `records.MIN_FAILURE_SCORE`.
-- No order.
WITH
-- A warehouse that no run has migrated yet lacks these columns, which is as if they were empty.
all_runs AS (
    SELECT * FROM runs
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS kind, NULL::BOOLEAN AS filtered WHERE false
),
all_findings AS (
    SELECT * FROM findings
    UNION ALL BY NAME
    SELECT NULL::VARCHAR[] AS formerly WHERE false
),
all_files AS (
    SELECT * FROM files
    UNION ALL BY NAME
    SELECT NULL::VARCHAR[] AS unshown, NULL::BOOLEAN AS aside WHERE false
),
numbered AS (
    SELECT
        run_id,
        started_at >= $before AS is_later,
        coalesce(kind, 'audit') = 'audit' AND NOT coalesce(filtered, false) AND status <> 'interrupted' AS is_whole,
        row_number() OVER (ORDER BY started_at, run_id) AS number
    FROM all_runs
    WHERE project = $project AND status <> 'dry_run' AND list_contains($kinds, coalesce(kind, 'audit'))
),
told AS (
    SELECT
        fingerprint,
        min(first_seen) AS first_seen,
        max(last_seen) AS last_seen,
        max(number) AS number,
        bool_or(is_later) AS is_later,
        bool_or(len(formerly) > 0) AS is_successor
    FROM all_findings
    JOIN numbered USING (run_id)
    GROUP BY fingerprint
),
superseded AS (
    SELECT fingerprint, max(number) AS number
    FROM (
        SELECT unnest(formerly) AS fingerprint, number
        FROM all_findings
        JOIN numbered USING (run_id)
    )
    GROUP BY fingerprint
),
places AS (
    SELECT
        run_id,
        number,
        is_later,
        is_whole,
        path,
        location,
        left(location, length(location) - length(coalesce(job, ''))) AS stem,
        all_files.status,
        outcome,
        unshown,
        coalesce(aside, false) AS aside
    FROM all_files
    JOIN numbered USING (run_id)
    WHERE location IS NOT NULL
),
sightings AS (
    SELECT
        chunks.fingerprint,
        location,
        number,
        is_later,
        chunks.severity IN ('error', 'critical') AND (chunks.rank = 1 OR chunks.score >= $min_score) AS is_failure
    FROM chunks
    JOIN places USING (run_id, path)
    WHERE places.outcome <> 'passed'
    UNION ALL
    SELECT unnest(unshown), location, number, is_later, true
    FROM places
    WHERE outcome <> 'passed'
),
seen AS (
    SELECT fingerprint, location, max(number) AS number, bool_or(is_later) AS is_later
    FROM sightings
    GROUP BY fingerprint, location
),
-- What a location showed of failures that may have had another name before the rules changed.
nameless AS (
    SELECT location, number, list(DISTINCT split_part(fingerprint, ':', 1)) AS rules
    FROM sightings
    WHERE is_failure AND fingerprint NOT IN (SELECT fingerprint FROM told WHERE is_successor)
    GROUP BY location, number
),
unread AS (
    SELECT DISTINCT run_id, stem
    FROM places
    WHERE status <> 'read' OR aside
),
-- Where failures under all rules ('') or under some alone would have been seen, and when last.
read_whole AS (
    SELECT location, coalesce(nameless.rules[1], '') AS rules, max(number) AS number
    FROM (
        SELECT DISTINCT location, number
        FROM places
        ANTI JOIN unread USING (run_id, stem)
        WHERE is_whole
    )
    LEFT JOIN nameless USING (location, number)
    WHERE coalesce(len(nameless.rules), 0) < 2
    GROUP BY ALL
),
still AS (
    SELECT
        seen.fingerprint,
        list(seen.location) FILTER (WHERE coalesce(greatest(clean.number, own.number), 0) <= seen.number) AS locations,
        bool_or(seen.is_later) AS is_later
    FROM seen
    LEFT JOIN read_whole AS clean ON clean.location = seen.location AND clean.rules = ''
    LEFT JOIN read_whole AS own
        ON own.location = seen.location AND own.rules = split_part(seen.fingerprint, ':', 1)
    GROUP BY seen.fingerprint
)
SELECT
    fingerprint,
    first_seen,
    last_seen,
    if(still.fingerprint IS NULL OR told.is_later OR still.is_later, NULL, coalesce(locations, [])) AS locations,
    coalesce(is_successor, false) AS is_successor
FROM told
LEFT JOIN still USING (fingerprint)
LEFT JOIN superseded USING (fingerprint)
WHERE coalesce(superseded.number, 0) <= told.number

-- name: read_last_evidence
-- Grain: one of $fingerprints with evidence in $project; the last piece of it that was shown. No order.
SELECT chunks.*
FROM chunks
JOIN runs USING (run_id)
WHERE runs.project = $project AND list_contains($fingerprints, fingerprint)
QUALIFY row_number() OVER (PARTITION BY fingerprint ORDER BY runs.started_at DESC, run_id DESC, rank, path) = 1

-- name: list_failing_paths
-- Grain: a log at one of $locations (a list; see files.location) that showed a failure when an audit of $project last read it.
-- No order.
WITH
-- A warehouse that no run has migrated yet lacks these columns, which is as if they were empty.
all_runs AS (
    SELECT * FROM runs
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS kind, NULL::BOOLEAN AS filtered WHERE false
),
all_files AS (
    SELECT * FROM files
    UNION ALL BY NAME
    SELECT NULL::VARCHAR[] AS unshown WHERE false
),
audits AS (
    SELECT run_id, started_at
    FROM all_runs
    WHERE project = $project
        AND coalesce(kind, 'audit') = 'audit'
        AND NOT coalesce(filtered, false)
        AND status NOT IN ('dry_run', 'interrupted')
),
last_read AS (
    SELECT run_id, path, outcome, unshown
    FROM all_files
    JOIN audits USING (run_id)
    WHERE list_contains($locations, location) AND all_files.status = 'read'
    QUALIFY row_number() OVER (PARTITION BY path ORDER BY started_at DESC, run_id DESC) = 1
)
SELECT DISTINCT path
FROM last_read
LEFT JOIN (SELECT DISTINCT run_id, path, true AS shown FROM chunks) USING (run_id, path)
WHERE outcome <> 'passed' AND (shown OR len(unshown) > 0)
