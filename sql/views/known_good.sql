-- Grain: a job that passed in a complete run, with the hashes of what its logs say. No order.
CREATE VIEW known_good AS
SELECT * EXCLUDE (filename)
FROM read_parquet({known_good}, union_by_name = true, hive_partitioning = false, filename = true)
WHERE run_id IN (SELECT run_id FROM runs)
QUALIFY rank() OVER (PARTITION BY project, run_id ORDER BY filename DESC) = 1;
