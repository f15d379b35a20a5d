-- Grain: an input file of a complete run. No order.
CREATE VIEW files AS
SELECT *
FROM read_parquet({files}, union_by_name = true, hive_partitioning = false)
WHERE run_id IN (SELECT run_id FROM runs);
