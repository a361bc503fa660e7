SELECT 'partition' AS name, count(*) AS total FROM partition
UNION ALL SELECT 'patient', count(*) FROM patient
UNION ALL SELECT 'study', count(*) FROM study
UNION ALL SELECT 'series', count(*) FROM series
UNION ALL SELECT 'instance', count(*) FROM instance;
