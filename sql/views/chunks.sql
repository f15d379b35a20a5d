-- Grain: a piece of evidence of a complete run. No order.
CREATE VIEW chunks AS
SELECT *
FROM read_parquet({chunks}, union_by_name = true, hive_partitioning = false)
WHERE run_id IN (SELECT run_id FROM runs);
