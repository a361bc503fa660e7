-- Instances and volume by modality and site
SELECT
    Modality,
    site,
    count(DISTINCT PatientID)                 AS patients,
    count(DISTINCT StudyInstanceUID)          AS studies,
    count(*)                                  AS instances,
    round(sum(bytes) / 1e6, 1)                AS megabytes
FROM instance
GROUP BY Modality, site
ORDER BY instances DESC, Modality, site;
