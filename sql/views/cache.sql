-- Grain: an answer as it was stored; a key may come twice, the newest counts. No order.
CREATE VIEW cache AS
SELECT *
FROM read_parquet({cache}, union_by_name = true, hive_partitioning = false);
