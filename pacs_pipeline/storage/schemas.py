"""The Parquet tables that the stages hand to each other. Columns that are DICOM attributes carry their keyword."""

from __future__ import annotations

import pyarrow as pa

_TEXT = pa.string()
_COUNT = pa.int64()
_DATE = pa.date32()

#: What the PACS announced: one row per series. Counts are null when the PACS does not give them.
CENSUS = pa.schema(
    [
        ("StudyInstanceUID", _TEXT),
        ("StudyDate", _DATE),
        ("StudyTime", _TEXT),
        ("ModalitiesInStudy", _TEXT),  # joined by backslash, as DICOM does
        ("NumberOfStudyRelatedInstances", _COUNT),
        ("SeriesInstanceUID", _TEXT),
        ("Modality", _TEXT),
        ("NumberOfSeriesRelatedInstances", _COUNT),
        ("excluded", _TEXT),  # the filter rule that excludes the series, empty when it is wanted
    ]
)

#: What the harvest brought: one row per instance asked for or sent.
HARVEST = pa.schema(
    [
        ("StudyInstanceUID", _TEXT),
        ("SeriesInstanceUID", _TEXT),
        ("SOPInstanceUID", _TEXT),
        ("SOPClassUID", _TEXT),
        ("TransferSyntaxUID", _TEXT),
        ("status", _TEXT),  # landed, unavailable, unexpected, excluded, deleted
        ("detail", _TEXT),
        ("path", _TEXT),  # below the partition's folder in the landing zone; empty: not there
        ("size", _COUNT),
        ("sha256", _TEXT),
        ("version", _TEXT),  # what the archive says of the instance's version; empty when it says nothing
    ]
)

#: One row per de-identified instance. All values are those of the de-identified object.
INSTANCES = pa.schema(
    [
        ("SOPInstanceUID", _TEXT),
        ("SeriesInstanceUID", _TEXT),
        ("StudyInstanceUID", _TEXT),
        ("PatientID", _TEXT),
        ("SOPClassUID", _TEXT),
        ("TransferSyntaxUID", _TEXT),
        ("Modality", _TEXT),
        ("StudyDate", _DATE),
        ("SeriesNumber", _COUNT),
        ("InstanceNumber", _COUNT),
        ("Rows", _COUNT),
        ("Columns", _COUNT),
        ("NumberOfFrames", _COUNT),
        ("BitsAllocated", _COUNT),
        ("PhotometricInterpretation", _TEXT),
        ("BodyPartExamined", _TEXT),
        ("ImageType", _TEXT),  # joined by backslash
        ("Manufacturer", _TEXT),
        ("ManufacturerModelName", _TEXT),
        ("size", _COUNT),
        ("sha256", _TEXT),
        ("path", _TEXT),  # below the partition's folder in the staging zone
        ("header", _TEXT),  # the retained attributes as JSON
        ("profile_fingerprint", _TEXT),
        ("code_version", _TEXT),
        ("actions", _TEXT),  # how often each action was applied, by letter, as JSON
        ("regions_redacted", _COUNT),  # of pixels
        ("residue_scan", _TEXT),  # clean
        ("identifiers_sought", _COUNT),  # by the residue scan
    ]
)

#: One row per de-identified series.
SERIES = pa.schema(
    [
        ("SeriesInstanceUID", _TEXT),
        ("StudyInstanceUID", _TEXT),
        ("PatientID", _TEXT),
        ("Modality", _TEXT),
        ("SeriesNumber", _COUNT),
        ("BodyPartExamined", _TEXT),
        ("SOPClassUID", _TEXT),
        ("instances", _COUNT),
        ("size", _COUNT),
    ]
)

#: One row per de-identified study.
STUDIES = pa.schema(
    [
        ("StudyInstanceUID", _TEXT),
        ("PatientID", _TEXT),
        ("StudyDate", _DATE),
        ("ModalitiesInStudy", _TEXT),
        ("series", _COUNT),
        ("instances", _COUNT),
        ("size", _COUNT),
    ]
)

#: How often which action was applied to which attribute in the partition.
ACTIONS = pa.schema([("tag", _TEXT), ("keyword", _TEXT), ("action", _TEXT), ("count", _COUNT)])

#: Vault only, PHI: what became of every source instance.
OUTCOMES = pa.schema(
    [
        ("source_sop_instance_uid", _TEXT),
        ("source_series_instance_uid", _TEXT),
        ("source_study_instance_uid", _TEXT),
        ("deidentified_sop_instance_uid", _TEXT),  # null unless released
        ("outcome", _TEXT),  # released, quarantined
        ("reason", _TEXT),
        ("detail", _TEXT),
        ("input_sha256", _TEXT),
        ("sha256", _TEXT),
    ]
)

#: What was set aside, without PHI: the source is a keyed hash.
QUARANTINE = pa.schema(
    [
        ("source_hash", _TEXT),
        ("reason", _TEXT),
        ("detail", _TEXT),
        ("SOPClassUID", _TEXT),
        ("Modality", _TEXT),
        ("size", _COUNT),
    ]
)

#: The objects of a partition in the bucket, each put and verified.
PUBLISHED = pa.schema(
    [
        ("SOPInstanceUID", _TEXT),
        ("SeriesInstanceUID", _TEXT),
        ("key", _TEXT),
        ("uri", _TEXT),
        ("sha256", _TEXT),
        ("size", _COUNT),
    ]
)
