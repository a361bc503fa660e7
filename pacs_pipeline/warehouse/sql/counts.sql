-- What the partition holds now; no row when it is not published.
SELECT studies, series, instances, bytes FROM partition WHERE partition_id = getvariable('partition_id');
