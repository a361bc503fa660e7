"""DICOMweb (PS3.18): QIDO-RS says what an archive has, WADO-RS brings it. The only part that imports an HTTP client."""

from pacs_pipeline.pacs.dicomweb.archive import DicomwebArchive
from pacs_pipeline.pacs.dicomweb.retriever import DicomwebRetriever
from pacs_pipeline.pacs.dicomweb.service import Service

__all__ = ["DicomwebArchive", "DicomwebRetriever", "Service"]
