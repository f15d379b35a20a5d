-- Grain: a project and fingerprint, over all its runs; title, category and severity as last told.
-- Order: project, most occurrences first.
--   project: of the runs
--   fingerprint: of the failure
--   title: one line, as last told
--   category: kind of failure, as last told
--   severity: as last told
--   runs: [runs] that showed it
--   occurrences: [chunks] of all runs together
--   first_seen: in this project
--   last_seen: in this project
--   status: as last told: new, recurring, regressed, resolved
CREATE VIEW noisiest_fingerprints AS
SELECT
    findings.project,
    fingerprint,
    arg_max(title, runs.started_at) AS title,
    arg_max(category, runs.started_at) AS category,
    arg_max(severity, runs.started_at) AS severity,
    count(*) FILTER (WHERE findings.status <> 'resolved') AS runs,
    sum(occurrences)::BIGINT AS occurrences,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen,
    arg_max(findings.status, runs.started_at) AS status
FROM findings
JOIN runs USING (run_id)
GROUP BY findings.project, fingerprint
ORDER BY findings.project, occurrences DESC, fingerprint;
