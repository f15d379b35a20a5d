-- name: find_done
-- Grain: one of $paths whose file, when it was last read in a run of $project that is done with it, had the version at the
-- same place in $versions. A run is done with a file that it read whole, if it looked at all events and each of its
-- failures was explained. No order.
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
    SELECT NULL::VARCHAR AS version WHERE false
),
explained AS (
    SELECT run_id, count(*) AS findings
    FROM findings
    WHERE project = $project AND status <> 'resolved'
    GROUP BY run_id
),
done AS (
    SELECT run_id, started_at
    FROM all_runs
    LEFT JOIN explained USING (run_id)
    WHERE project = $project
        AND coalesce(kind, 'audit') = 'audit'
        AND NOT coalesce(filtered, false)
        AND status IN ('completed', 'partial')
        AND groups = coalesce(findings, 0)
),
wanted AS (
    SELECT unnest($paths::VARCHAR[]) AS path, unnest($versions::VARCHAR[]) AS version
),
last_read AS (
    SELECT
        path,
        -- Before there was a column for it, an object's version was kept in place of its hash.
        arg_max(
            coalesce(all_files.version, CASE WHEN starts_with(sha256, 'etag:') THEN sha256 END, ''),
            (started_at, run_id)
        ) AS version
    FROM all_files
    JOIN done USING (run_id)
    WHERE project = $project AND all_files.status = 'read' AND path IN (SELECT path FROM wanted)
    GROUP BY path
)
SELECT path
FROM wanted
JOIN last_read USING (path, version)

-- name: find_last_night
-- Grain: when the last run of $project began that read all that was new of the paths $nightly (JSON, as in runs.nightly)
-- and is done with it, nothing of which it could not open: a prefix may have been out of reach. One row; NULL if there was none.
WITH
-- A warehouse that no run has migrated yet lacks these columns, which is as if they were empty.
all_runs AS (
    SELECT * FROM runs
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS kind, NULL::BOOLEAN AS filtered, NULL::VARCHAR AS nightly WHERE false
),
explained AS (
    SELECT run_id, count(*) AS findings
    FROM findings
    WHERE project = $project AND status <> 'resolved'
    GROUP BY run_id
)
SELECT max(started_at) AS started_at
FROM all_runs
LEFT JOIN explained USING (run_id)
WHERE project = $project
    AND nightly = $nightly
    AND coalesce(kind, 'audit') = 'audit'
    AND NOT coalesce(filtered, false)
    AND status IN ('completed', 'partial')
    AND groups = coalesce(findings, 0)
    AND run_id NOT IN (SELECT run_id FROM files WHERE project = $project AND status = 'unreadable')
