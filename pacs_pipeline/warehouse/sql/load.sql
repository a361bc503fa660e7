-- Bring in one partition from its Parquet tables. An instance without a verified object of the same content
-- gets no row here; check.sql then sees that one is missing.

INSERT INTO study BY NAME
SELECT
    getvariable('partition_id') AS partition_id,
    getvariable('site')         AS site,
    StudyInstanceUID, PatientID, StudyDate, ModalitiesInStudy, series, instances,
    size AS bytes
FROM read_parquet(getvariable('studies'));

INSERT INTO series BY NAME
SELECT
    getvariable('partition_id') AS partition_id,
    getvariable('site')         AS site,
    SeriesInstanceUID, StudyInstanceUID, PatientID, Modality, SeriesNumber, BodyPartExamined, SOPClassUID, instances,
    size AS bytes
FROM read_parquet(getvariable('series'));

INSERT INTO instance BY NAME
SELECT
    getvariable('partition_id') AS partition_id,
    getvariable('site')         AS site,
    staged.SOPInstanceUID, staged.SeriesInstanceUID, StudyInstanceUID, PatientID, SOPClassUID, TransferSyntaxUID,
    Modality, StudyDate, SeriesNumber, InstanceNumber, "Rows", "Columns", NumberOfFrames, BitsAllocated,
    PhotometricInterpretation, BodyPartExamined, ImageType, Manufacturer, ManufacturerModelName,
    staged.size AS bytes,
    staged.sha256,
    published.uri,
    header::JSON AS header,
    profile_fingerprint, code_version,
    actions::JSON AS actions, regions_redacted, residue_scan, identifiers_sought
FROM read_parquet(getvariable('instances')) AS staged
JOIN read_parquet(getvariable('published')) AS published
  ON published.SOPInstanceUID = staged.SOPInstanceUID
 AND published.sha256 = staged.sha256
 AND published.size = staged.size;

INSERT INTO partition BY NAME
SELECT
    getvariable('partition_id')                                                         AS partition_id,
    getvariable('site')                                                                 AS site,
    getvariable('manifest_digest')                                                      AS manifest_digest,
    getvariable('contracts_fingerprint')                                                AS contracts_fingerprint,
    getvariable('profile_fingerprint')                                                  AS profile_fingerprint,
    (SELECT count(*) FROM study  WHERE partition_id = getvariable('partition_id'))      AS studies,
    (SELECT count(*) FROM series WHERE partition_id = getvariable('partition_id'))      AS series,
    count(*)                                                                            AS instances,
    coalesce(sum(bytes), 0)::BIGINT                                                     AS bytes,
    getvariable('published_at')                                                         AS published_at
FROM instance WHERE partition_id = getvariable('partition_id');
