-- Grain: a distinct failure (fingerprint) of a complete run, resolved ones included. No order.
CREATE VIEW findings AS
SELECT * EXCLUDE (filename)
FROM read_parquet({findings}, union_by_name = true, hive_partitioning = false, filename = true)
WHERE run_id IN (SELECT run_id FROM runs)
QUALIFY rank() OVER (PARTITION BY project, run_id ORDER BY filename DESC) = 1;
