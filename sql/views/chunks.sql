-- Grain: a piece of evidence of a complete run. No order.
CREATE VIEW chunks AS
SELECT * EXCLUDE (filename)
FROM read_parquet({chunks}, union_by_name = true, hive_partitioning = false, filename = true)
WHERE run_id IN (SELECT run_id FROM runs)
QUALIFY rank() OVER (PARTITION BY project, run_id ORDER BY filename DESC) = 1;
