-- Grain: a job that passed in a complete run, with the hashes of what its logs say. No order.
CREATE VIEW known_good AS
SELECT *
FROM read_parquet({known_good}, union_by_name = true, hive_partitioning = false)
WHERE run_id IN (SELECT run_id FROM runs);
