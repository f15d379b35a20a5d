-- Grain: a run of any project. No order.
CREATE VIEW runs AS
SELECT * EXCLUDE (filename)
FROM read_parquet({runs}, union_by_name = true, hive_partitioning = false, filename = true)
QUALIFY filename = max(filename) OVER (PARTITION BY project, run_id);
