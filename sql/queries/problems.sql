-- name: read_failed_calls
-- Grain: a fingerprint whose calls all failed in the run $run_id, with the last error. Order: fingerprint.
SELECT fingerprint, arg_max(error, attempt) AS error
FROM llm_calls
WHERE run_id = $run_id
GROUP BY fingerprint
HAVING bool_and(status = 'failed')
ORDER BY fingerprint
