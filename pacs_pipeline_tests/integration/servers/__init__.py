"""Real servers, started on free ports and stopped again: for the tests of every room that needs one."""

from pacs_pipeline_tests.integration.servers.dcmqrscp import DcmqrscpServer, dcmqrscp
from pacs_pipeline_tests.integration.servers.orthanc import OrthancServer, orthanc
from pacs_pipeline_tests.integration.servers.processes import free_port, program, running
from pacs_pipeline_tests.integration.servers.qrscp import QrscpServer, qrscp

__all__ = [
    "DcmqrscpServer",
    "OrthancServer",
    "QrscpServer",
    "dcmqrscp",
    "free_port",
    "orthanc",
    "program",
    "qrscp",
    "running",
]
