-- Grain: a distinct failure (fingerprint) of a complete run, resolved ones included. No order.
CREATE VIEW findings AS
SELECT *
FROM read_parquet({findings}, union_by_name = true, hive_partitioning = false)
WHERE run_id IN (SELECT run_id FROM runs);
