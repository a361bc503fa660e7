"""Zones on disk and the S3 bucket. The only room that imports boto3."""

from pacs_pipeline.storage.atomic import (
    file_sha256,
    make_durable,
    make_folder,
    remove_stale,
    replacing,
    write_bytes,
    write_json,
)
from pacs_pipeline.storage.bucket import Bucket, Put, StoredObject, Upload
from pacs_pipeline.storage.index import Damaged, Records, read_records, scan_records
from pacs_pipeline.storage.keys import object_key
from pacs_pipeline.storage.locks import partition_lock
from pacs_pipeline.storage.manifests import (
    read_books,
    read_manifest,
    read_verdict,
    remove_manifest,
    scan,
    verify_tables,
    write_books,
    write_manifest,
    write_verdict,
)
from pacs_pipeline.storage.objects import Prefix, PrefixObject
from pacs_pipeline.storage.received import mark_received, marks, read_mark, take_mark
from pacs_pipeline.storage.schemas import (
    ACTIONS,
    CENSUS,
    HARVEST,
    INSTANCES,
    OUTCOMES,
    PUBLISHED,
    QUARANTINE,
    SERIES,
    STUDIES,
)
from pacs_pipeline.storage.tables import read_rows, write_table
from pacs_pipeline.storage.zones import Zone, Zones

__all__ = [
    "ACTIONS",
    "CENSUS",
    "HARVEST",
    "INSTANCES",
    "OUTCOMES",
    "PUBLISHED",
    "QUARANTINE",
    "SERIES",
    "STUDIES",
    "Bucket",
    "Damaged",
    "Prefix",
    "PrefixObject",
    "Put",
    "Records",
    "StoredObject",
    "Upload",
    "Zone",
    "Zones",
    "file_sha256",
    "make_durable",
    "make_folder",
    "mark_received",
    "marks",
    "object_key",
    "partition_lock",
    "read_books",
    "read_manifest",
    "read_mark",
    "read_records",
    "read_rows",
    "read_verdict",
    "remove_manifest",
    "remove_stale",
    "replacing",
    "scan",
    "scan_records",
    "take_mark",
    "verify_tables",
    "write_books",
    "write_bytes",
    "write_json",
    "write_manifest",
    "write_table",
    "write_verdict",
]
