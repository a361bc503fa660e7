-- What must be equal before the load is committed: rows staged and loaded, and their distinct UIDs.
WITH staged AS (
    SELECT count(*) AS total, count(DISTINCT SOPInstanceUID) AS different
    FROM read_parquet(getvariable('instances'))
),
loaded AS (
    SELECT count(*) AS total, count(DISTINCT SOPInstanceUID) AS different
    FROM instance WHERE partition_id = getvariable('partition_id')
),
series_loaded AS (
    SELECT count(*) AS total, count(DISTINCT SeriesInstanceUID) AS different
    FROM series WHERE partition_id = getvariable('partition_id')
),
studies_loaded AS (
    SELECT count(*) AS total, count(DISTINCT StudyInstanceUID) AS different
    FROM study WHERE partition_id = getvariable('partition_id')
)
SELECT
    staged.total                                    AS staged,
    staged.total - staged.different                 AS repeated_instances,
    staged.total - loaded.different                 AS without_object,
    loaded.total - loaded.different                 AS with_several_objects,
    series_loaded.total - series_loaded.different   AS repeated_series,
    studies_loaded.total - studies_loaded.different AS repeated_studies
FROM staged, loaded, series_loaded, studies_loaded;
