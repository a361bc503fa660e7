"""The objects below a prefix as files. Who lists and reads them is passed in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from pacs_pipeline.pacs.files.source import Entry

_WINDOW = 1 << 16  # a request costs more than what it brings


class ListedObject(Protocol):
    """An object as a listing has it."""

    @property
    def key(self) -> str:
        """Its name."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    @property
    def etag(self) -> str:
        """Another one when the content is another one."""


class ObjectStore(Protocol):
    """The objects below one prefix.

    A read raises FileNotFoundError when the object is gone, Quarantine when it is not the one with this ETag any more,
    Transient or Permanent when the store cannot be reached or refuses.
    """

    where: str

    def list(self) -> Iterator[ListedObject]:
        """All objects; ends only when the list is complete."""
        ...

    def read(self, key: str, etag: str, start: int, length: int) -> bytes:
        """A range of an object."""
        ...

    def stream(self, key: str, etag: str, start: int) -> Iterator[bytes]:
        """An object from ``start`` to its end, in chunks; raises Quarantine when it ends early."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class ObjectFiles:
    """Objects as files (see :class:`Files`)."""

    newest_wins = False
    window = _WINDOW

    def __init__(self, store: ObjectStore) -> None:
        self.where = store.where
        self._store = store

    def scope(self, study_date: object) -> bytes:  # noqa: ARG002 - a prefix may hold any date anywhere
        """Any object may be of any date."""
        return b""

    def list(self, scope: bytes = b"") -> Iterator[Entry]:
        """Every object but the empty ones that stand for folders."""
        for found in self._store.list():
            name = found.key.encode("utf-8", "surrogatepass")
            if name.startswith(scope) and not (found.key.endswith("/") and not found.size):
                yield Entry(name, found.size, found.etag)

    def read(self, entry: Entry, start: int, length: int) -> bytes:
        """See :class:`Files`."""
        length = min(length, entry.size - start)
        return self._store.read(_key(entry), entry.version, start, length) if length > 0 else b""

    def stream(self, entry: Entry, start: int) -> Iterator[bytes]:
        """See :class:`Files`."""
        return self._store.stream(_key(entry), entry.version, start) if start < entry.size else iter(())

    def close(self) -> None:
        """Close the connections to the store."""
        self._store.close()


def _key(entry: Entry) -> str:
    return entry.name.decode("utf-8", "surrogatepass")
