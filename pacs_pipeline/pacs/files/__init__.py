"""Archives that are files: a folder tree, the objects below a prefix, and the inbox of what is pushed."""

from pacs_pipeline.pacs.files.archive import FileArchive
from pacs_pipeline.pacs.files.inbox import Counts, Inbox, InboxFiles, is_receiving
from pacs_pipeline.pacs.files.index import Index
from pacs_pipeline.pacs.files.objects import ObjectFiles, ObjectStore
from pacs_pipeline.pacs.files.source import Files
from pacs_pipeline.pacs.files.tree import FolderFiles

__all__ = [
    "Counts",
    "FileArchive",
    "Files",
    "FolderFiles",
    "Inbox",
    "InboxFiles",
    "Index",
    "ObjectFiles",
    "ObjectStore",
    "is_receiving",
]
