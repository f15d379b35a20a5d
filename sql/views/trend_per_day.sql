-- Grain: a project and UTC day on which a run started; failures are counted once a day. Order: project, day.
--   project: of the runs
--   day: UTC day on which the runs began
--   runs: [runs] that looked for failures
--   files: [files] of all runs of the day
--   lines: [lines] of all runs of the day
--   findings: [failures] distinct ones that were there
--   new: [failures] never seen before
--   recurring: [failures] that were there the last time, too
--   regressed: [failures] that had been resolved and are back
--   resolved: [failures] that are gone
--   llm_calls: [calls] of models
--   cache_hits: [failures] that a cached answer explained
--   cost_usd: [USD] by the table of prices
--   errors: [problems] with inputs, calls and deliveries
CREATE VIEW trend_per_day AS
WITH run_days AS (
    SELECT *, CAST(started_at AT TIME ZONE 'UTC' AS DATE) AS day
    FROM runs
    WHERE status <> 'dry_run'
),
runs_per_day AS (
    SELECT
        project,
        day,
        count(*) AS runs,
        sum(files)::BIGINT AS files,
        sum(lines)::BIGINT AS lines,
        sum(llm_calls)::BIGINT AS llm_calls,
        sum(cache_hits)::BIGINT AS cache_hits,
        sum(cost_usd) AS cost_usd,
        sum(errors)::BIGINT AS errors
    FROM run_days
    GROUP BY project, day
),
findings_per_day AS (
    SELECT
        run_days.project,
        run_days.day,
        count(DISTINCT fingerprint) FILTER (WHERE findings.status <> 'resolved') AS findings,
        count(DISTINCT fingerprint) FILTER (WHERE findings.status = 'new') AS new,
        count(DISTINCT fingerprint) FILTER (WHERE findings.status = 'recurring') AS recurring,
        count(DISTINCT fingerprint) FILTER (WHERE findings.status = 'regressed') AS regressed,
        count(DISTINCT fingerprint) FILTER (WHERE findings.status = 'resolved') AS resolved
    FROM findings
    JOIN run_days USING (run_id)
    GROUP BY run_days.project, run_days.day
)
SELECT
    project,
    day,
    runs,
    files,
    lines,
    coalesce(findings, 0) AS findings,
    coalesce(new, 0) AS new,
    coalesce(recurring, 0) AS recurring,
    coalesce(regressed, 0) AS regressed,
    coalesce(resolved, 0) AS resolved,
    llm_calls,
    cache_hits,
    cost_usd,
    errors
FROM runs_per_day
LEFT JOIN findings_per_day USING (project, day)
ORDER BY project, day;
