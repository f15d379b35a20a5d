-- Grain: a failure of a project's latest run that was not open before it: never seen, or back after it was resolved.
-- Order: project, most severe first, most frequent first, fingerprint.
--   as in findings
CREATE VIEW new_findings AS
SELECT findings.*
FROM findings
JOIN latest_run USING (run_id)
WHERE findings.status IN ('new', 'regressed')
ORDER BY
    findings.project,
    list_position(['critical', 'error', 'warning', 'info', 'debug', 'trace'], findings.severity),
    findings.occurrences DESC,
    findings.fingerprint;
