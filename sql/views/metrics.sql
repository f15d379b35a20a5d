-- Grain: a number (name) of a complete run. No order.
CREATE VIEW metrics AS
SELECT *
FROM read_parquet({metrics}, union_by_name = true, hive_partitioning = false)
WHERE run_id IN (SELECT run_id FROM runs);
