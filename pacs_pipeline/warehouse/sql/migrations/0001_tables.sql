-- The published metadata. Every row belongs to a partition and is replaced with it, so keys are unique per
-- partition: the same study may have been acquired by two sites. The loader checks that; no ART index is kept,
-- because it would hold every UID in memory.

CREATE TABLE partition (
    partition_id          VARCHAR     NOT NULL PRIMARY KEY,
    site                  VARCHAR     NOT NULL,
    manifest_digest       VARCHAR     NOT NULL,
    contracts_fingerprint VARCHAR     NOT NULL,
    profile_fingerprint   VARCHAR,
    studies               BIGINT      NOT NULL,
    series                BIGINT      NOT NULL,
    instances             BIGINT      NOT NULL,
    bytes                 BIGINT      NOT NULL,
    published_at          TIMESTAMPTZ NOT NULL
);

CREATE TABLE study (
    partition_id      VARCHAR NOT NULL,
    site              VARCHAR NOT NULL,
    StudyInstanceUID  VARCHAR NOT NULL,
    PatientID         VARCHAR NOT NULL,
    StudyDate         DATE,
    ModalitiesInStudy VARCHAR,
    series            BIGINT,
    instances         BIGINT,
    bytes             BIGINT
);

CREATE TABLE series (
    partition_id      VARCHAR NOT NULL,
    site              VARCHAR NOT NULL,
    SeriesInstanceUID VARCHAR NOT NULL,
    StudyInstanceUID  VARCHAR NOT NULL,
    PatientID         VARCHAR NOT NULL,
    Modality          VARCHAR,
    SeriesNumber      BIGINT,
    BodyPartExamined  VARCHAR,
    SOPClassUID       VARCHAR,
    instances         BIGINT,
    bytes             BIGINT
);

CREATE TABLE instance (
    partition_id              VARCHAR NOT NULL,
    site                      VARCHAR NOT NULL,
    SOPInstanceUID            VARCHAR NOT NULL,
    SeriesInstanceUID         VARCHAR NOT NULL,
    StudyInstanceUID          VARCHAR NOT NULL,
    PatientID                 VARCHAR NOT NULL,
    SOPClassUID               VARCHAR NOT NULL,
    TransferSyntaxUID         VARCHAR,
    Modality                  VARCHAR,
    StudyDate                 DATE,
    SeriesNumber              BIGINT,
    InstanceNumber            BIGINT,
    "Rows"                    BIGINT,
    "Columns"                 BIGINT,
    NumberOfFrames            BIGINT,
    BitsAllocated             BIGINT,
    PhotometricInterpretation VARCHAR,
    BodyPartExamined          VARCHAR,
    ImageType                 VARCHAR,
    Manufacturer              VARCHAR,
    ManufacturerModelName     VARCHAR,
    bytes                     BIGINT  NOT NULL,
    sha256                    VARCHAR NOT NULL,
    uri                       VARCHAR NOT NULL,
    header                    JSON,
    profile_fingerprint       VARCHAR,
    code_version              VARCHAR
);

COMMENT ON TABLE partition IS 'One row per published partition: what was judged, under which contracts and profile, and when it was loaded.';
COMMENT ON COLUMN partition.partition_id IS 'Keyed hash of site and original study date; the date cannot be read from it.';
COMMENT ON COLUMN partition.site IS 'Name of the site in pacs_pipeline.yaml.';
COMMENT ON COLUMN partition.manifest_digest IS 'SHA-256 of the manifest that was judged and loaded.';
COMMENT ON COLUMN partition.contracts_fingerprint IS 'Fingerprint of the data contracts that passed.';
COMMENT ON COLUMN partition.profile_fingerprint IS 'Fingerprint of the de-identification profile.';
COMMENT ON COLUMN partition.studies IS 'Studies in the partition.';
COMMENT ON COLUMN partition.series IS 'Series in the partition.';
COMMENT ON COLUMN partition.instances IS 'Instances in the partition.';
COMMENT ON COLUMN partition.bytes IS 'Bytes of the partition''s objects in the bucket.';
COMMENT ON COLUMN partition.published_at IS 'When the rows were committed.';

COMMENT ON TABLE study IS 'One row per de-identified study and partition.';
COMMENT ON COLUMN study.partition_id IS 'The partition the row is replaced with.';
COMMENT ON COLUMN study.site IS 'Name of the site.';
COMMENT ON COLUMN study.StudyInstanceUID IS 'Replaced UID (0020,000D); the same at every site of the project.';
COMMENT ON COLUMN study.PatientID IS 'Pseudonym (0010,0020); the same at every site of the project.';
COMMENT ON COLUMN study.StudyDate IS 'Shifted date (0008,0020): intervals within a patient are true, the date is not.';
COMMENT ON COLUMN study.ModalitiesInStudy IS 'Modalities (0008,0061), joined by backslash.';
COMMENT ON COLUMN study.series IS 'Published series of the study.';
COMMENT ON COLUMN study.instances IS 'Published instances of the study.';
COMMENT ON COLUMN study.bytes IS 'Bytes of the study''s objects in the bucket.';

COMMENT ON TABLE series IS 'One row per de-identified series and partition.';
COMMENT ON COLUMN series.partition_id IS 'The partition the row is replaced with.';
COMMENT ON COLUMN series.site IS 'Name of the site.';
COMMENT ON COLUMN series.SeriesInstanceUID IS 'Replaced UID (0020,000E).';
COMMENT ON COLUMN series.StudyInstanceUID IS 'Replaced UID of the study (0020,000D).';
COMMENT ON COLUMN series.PatientID IS 'Pseudonym (0010,0020).';
COMMENT ON COLUMN series.Modality IS 'Modality (0008,0060).';
COMMENT ON COLUMN series.SeriesNumber IS 'Series number (0020,0011).';
COMMENT ON COLUMN series.BodyPartExamined IS 'Body part (0018,0015).';
COMMENT ON COLUMN series.SOPClassUID IS 'SOP class of the instances (0008,0016).';
COMMENT ON COLUMN series.instances IS 'Published instances of the series.';
COMMENT ON COLUMN series.bytes IS 'Bytes of the series'' objects in the bucket.';

COMMENT ON TABLE instance IS 'One row per published instance: where its object is, what it is, and its de-identified header.';
COMMENT ON COLUMN instance.partition_id IS 'The partition the row is replaced with.';
COMMENT ON COLUMN instance.site IS 'Name of the site.';
COMMENT ON COLUMN instance.SOPInstanceUID IS 'Replaced UID (0008,0018).';
COMMENT ON COLUMN instance.SeriesInstanceUID IS 'Replaced UID of the series (0020,000E).';
COMMENT ON COLUMN instance.StudyInstanceUID IS 'Replaced UID of the study (0020,000D).';
COMMENT ON COLUMN instance.PatientID IS 'Pseudonym (0010,0020).';
COMMENT ON COLUMN instance.SOPClassUID IS 'SOP class (0008,0016).';
COMMENT ON COLUMN instance.TransferSyntaxUID IS 'Transfer syntax (0002,0010).';
COMMENT ON COLUMN instance.Modality IS 'Modality (0008,0060).';
COMMENT ON COLUMN instance.StudyDate IS 'Shifted date (0008,0020).';
COMMENT ON COLUMN instance.SeriesNumber IS 'Series number (0020,0011).';
COMMENT ON COLUMN instance.InstanceNumber IS 'Instance number (0020,0013).';
COMMENT ON COLUMN instance."Rows" IS 'Rows (0028,0010).';
COMMENT ON COLUMN instance."Columns" IS 'Columns (0028,0011).';
COMMENT ON COLUMN instance.NumberOfFrames IS 'Number of frames (0028,0008).';
COMMENT ON COLUMN instance.BitsAllocated IS 'Bits allocated (0028,0100).';
COMMENT ON COLUMN instance.PhotometricInterpretation IS 'Photometric interpretation (0028,0004).';
COMMENT ON COLUMN instance.BodyPartExamined IS 'Body part (0018,0015).';
COMMENT ON COLUMN instance.ImageType IS 'Image type (0008,0008), joined by backslash.';
COMMENT ON COLUMN instance.Manufacturer IS 'Manufacturer (0008,0070).';
COMMENT ON COLUMN instance.ManufacturerModelName IS 'Model (0008,1090).';
COMMENT ON COLUMN instance.bytes IS 'Size of the object in the bucket.';
COMMENT ON COLUMN instance.sha256 IS 'SHA-256 of the object in the bucket.';
COMMENT ON COLUMN instance.uri IS 'Address of the object, s3://bucket/key.';
COMMENT ON COLUMN instance.header IS 'Retained attributes by DICOM keyword: (header->>''KVP'') = ''120''; keep the parentheses.';
COMMENT ON COLUMN instance.profile_fingerprint IS 'Fingerprint of the de-identification profile.';
COMMENT ON COLUMN instance.code_version IS 'Version of pacs_pipeline that de-identified the instance.';
