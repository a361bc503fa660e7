-- Remove everything of one partition.
DELETE FROM instance  WHERE partition_id = getvariable('partition_id');
DELETE FROM series    WHERE partition_id = getvariable('partition_id');
DELETE FROM study     WHERE partition_id = getvariable('partition_id');
DELETE FROM partition WHERE partition_id = getvariable('partition_id');
