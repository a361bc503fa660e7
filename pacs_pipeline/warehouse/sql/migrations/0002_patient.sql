-- The longitudinal view. A study that two sites published, or that moved to another date in the PACS and is
-- still in both partitions, counts once: the same UID is the same study.

CREATE VIEW patient AS
WITH distinct_study AS (
    SELECT
        PatientID,
        StudyInstanceUID,
        min(StudyDate)                                               AS StudyDate,
        max(series)                                                  AS series,
        max(instances)                                               AS instances,
        list(site)                                                   AS sites,
        flatten(list(string_split(coalesce(ModalitiesInStudy, ''), '\'))) AS modalities
    FROM study
    GROUP BY PatientID, StudyInstanceUID
)
SELECT
    PatientID,
    min(StudyDate)                                             AS first_study_date,
    max(StudyDate)                                             AS last_study_date,
    date_diff('day', min(StudyDate), max(StudyDate))           AS follow_up_days,
    count(*)                                                   AS studies,
    sum(series)::BIGINT                                        AS series,
    sum(instances)::BIGINT                                     AS instances,
    list_sort(list_filter(list_distinct(flatten(list(modalities))), lambda m: m <> '')) AS modalities,
    list_sort(list_distinct(flatten(list(sites))))             AS sites
FROM distinct_study
GROUP BY PatientID;

COMMENT ON VIEW patient IS 'One row per patient over all sites and dates.';
COMMENT ON COLUMN patient.PatientID IS 'Pseudonym (0010,0020).';
COMMENT ON COLUMN patient.first_study_date IS 'Shifted date of the first study.';
COMMENT ON COLUMN patient.last_study_date IS 'Shifted date of the last study.';
COMMENT ON COLUMN patient.follow_up_days IS 'True number of days between the first and the last study.';
COMMENT ON COLUMN patient.studies IS 'Distinct published studies.';
COMMENT ON COLUMN patient.series IS 'Series of these studies.';
COMMENT ON COLUMN patient.instances IS 'Instances of these studies.';
COMMENT ON COLUMN patient.modalities IS 'All modalities, sorted.';
COMMENT ON COLUMN patient.sites IS 'All sites, sorted.';
