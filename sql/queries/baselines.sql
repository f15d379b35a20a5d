-- name: read_known_good
-- Grain: one of $keys that passed in $project under $rules; what its last $runs passing runs say, at most $most hashes
-- (more are not `whole`). No order.
WITH recent AS (
    SELECT job_key, templates, whole
    FROM known_good
    WHERE project = $project AND rules = $rules AND job_key IN (SELECT unnest($keys))
    QUALIFY row_number() OVER (PARTITION BY job_key ORDER BY created_at DESC, run_id DESC) <= $runs
),
merged AS (
    SELECT job_key, list_distinct(flatten(list(templates))) AS templates, bool_or(whole) AS whole
    FROM recent
    GROUP BY job_key
)
SELECT job_key, templates[:$most] AS templates, whole AND len(templates) <= $most AS whole
FROM merged
