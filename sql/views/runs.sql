-- Grain: a run of any project. No order.
CREATE VIEW runs AS
SELECT *
FROM read_parquet({runs}, union_by_name = true, hive_partitioning = false);
