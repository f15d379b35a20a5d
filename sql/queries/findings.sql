-- name: find_fingerprints
-- Grain: a fingerprint that starts with $prefix, with or without the tag of its rules (`f1:`), of $project or (NULL) of
-- any. Order: fingerprint.
SELECT DISTINCT fingerprint
FROM findings
WHERE (starts_with(fingerprint, $prefix) OR starts_with(split_part(fingerprint, ':', 2), $prefix))
    AND ($project IS NULL OR project = $project)
ORDER BY fingerprint

-- name: trace_finding
-- Grain: a run that told of one of $fingerprints, and which, of $project or (NULL) of any. Order: newest first.
SELECT findings.*, runs.started_at
FROM findings
JOIN runs USING (run_id)
WHERE list_contains($fingerprints, fingerprint) AND ($project IS NULL OR findings.project = $project)
ORDER BY runs.started_at DESC, run_id DESC
