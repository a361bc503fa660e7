"""Talks to a PACS: census, retrieval, the storage receiver. The only room that imports pynetdicom (with the demo)."""

from pacs_pipeline.pacs.access import Access
from pacs_pipeline.pacs.archive import Archive, ContentArchive, Retriever
from pacs_pipeline.pacs.client import PacsClient
from pacs_pipeline.pacs.dicomweb import DicomwebArchive, DicomwebRetriever
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.pacs.landing import Delivery, Landing, describe
from pacs_pipeline.pacs.receiver import Sink, StorageReceiver, open_receiver
from pacs_pipeline.pacs.retrieve import CGetRetriever, CMoveRetriever, open_dimse_retriever

__all__ = [
    "Access",
    "Archive",
    "CGetRetriever",
    "CMoveRetriever",
    "ContentArchive",
    "Delivery",
    "DicomwebArchive",
    "DicomwebRetriever",
    "Endpoint",
    "Landing",
    "PacsClient",
    "Retriever",
    "Sink",
    "StorageReceiver",
    "describe",
    "open_dimse_retriever",
    "open_receiver",
]
