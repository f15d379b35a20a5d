-- Grain: a project; its newest run that looked for failures (a dry run does not). Order: project.
--   as in runs
CREATE VIEW latest_run AS
SELECT *
FROM runs
WHERE status <> 'dry_run'
QUALIFY row_number() OVER (PARTITION BY project ORDER BY started_at DESC, run_id DESC) = 1
ORDER BY project;
