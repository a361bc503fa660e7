-- Patients with several studies, and the true days between one and the next
SELECT
    PatientID,
    StudyDate                                                                         AS shifted_study_date,
    ModalitiesInStudy,
    site,
    date_diff('day', lag(StudyDate) OVER (PARTITION BY PatientID ORDER BY StudyDate, StudyInstanceUID), StudyDate)
                                                                                      AS days_later
FROM study
QUALIFY count(*) OVER (PARTITION BY PatientID) >= 2
ORDER BY PatientID, StudyDate, StudyInstanceUID
LIMIT 20;
