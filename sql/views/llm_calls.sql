-- Grain: an attempt at a model call. No order.
-- Calls of runs that were killed are here too, without a row in `runs`: they were paid for.
CREATE VIEW llm_calls AS
SELECT * EXCLUDE (filename)
FROM read_parquet({llm_calls}, union_by_name = true, hive_partitioning = false, filename = true)
QUALIFY rank() OVER (PARTITION BY project, run_id ORDER BY filename DESC) = 1;
