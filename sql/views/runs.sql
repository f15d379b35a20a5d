-- Grain: a run of any project. No order.
CREATE VIEW runs AS
SELECT * EXCLUDE (filename)
FROM read_parquet({runs}, union_by_name = true, hive_partitioning = false, filename = true)
-- Of a run the rows of one file count: see docs/decisions/0015-compaction.md. Here as in the views below no max(filename)
-- OVER: DuckDB 2 makes a join of it, which lists the files twice, and the two lists may differ.
QUALIFY rank() OVER (PARTITION BY project, run_id ORDER BY filename DESC) = 1;
