"""Searches a whole output file for strings, whatever element they are in: decoded text, raw bytes, the file's name."""

from __future__ import annotations

import re
import unicodedata
import zlib
from functools import lru_cache
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from benchmarks.deidentification.answers import elements_of, values_of
from benchmarks.deidentification.plant import anything_goes

_ENCODINGS = (
    "utf-8", "utf-16-le", "utf-16-be", "latin-1", "iso8859_2", "iso8859_5", "iso8859_7", "iso8859_8", "tis_620",
    "shift_jis", "euc_jp", "iso2022_jp_2", "euc_kr", "gb18030",
)  # fmt: skip
_ESCAPES = (b"\x1b$B", b"\x1b$@", b"\x1b(B", b"\x1b(J", b"\x1b$A")
_SHORTEST = 4
_WORD = re.compile(rb"[a-z]{8,}")


def folded(text: str) -> str:
    """``text`` without differences of case, width and composition."""
    return unicodedata.normalize("NFKC", text).casefold()


def plain(text: str) -> str:
    """``text`` folded and without marks: ``Müller`` is ``muller``."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


class Haystack:
    """One output file: its data set, if pydicom can read it, and everything in it that can be searched."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.ds: FileDataset | None = None
        self.unread = ""  # the class of the error that kept a part of it from being read
        raw = path.read_bytes()
        self._elements: list[tuple[str, str, str]] = [("file name", *_both(path.relative_to(root).as_posix()))]
        with anything_goes():
            try:
                self.ds = pydicom.dcmread(path, force=True)
                if self.ds.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                    raw += _inflated(raw)
                for part, prefix in ((self.ds.file_meta, "file meta "), (self.ds, "")):
                    self._collect(part, prefix)
            except Exception as error:  # noqa: BLE001 pydicom raises anything; the rest is searched as bytes
                self.unread = type(error).__name__
        self._raw, self._lower = raw, raw.lower()
        self._all = "\n".join(folded_ for _, folded_, _ in self._elements)
        self._plain = "\n".join(plain_ for _, _, plain_ in self._elements)

    def _collect(self, ds: Dataset, prefix: str) -> None:
        for path, element, undecoded in elements_of(ds):
            values = [undecoded.decode("latin-1")] if element is None else values_of(element)
            if element is not None and (
                element.tag == 0x7FE00010 or element.VR in ("OW", "OB", "OF", "OD", "OL", "OV")
            ):
                continue  # bytes: searched as such
            if values:
                self._elements.append((prefix + path, *_both("\\".join(values))))

    def words(self) -> set[str]:
        """The longer ASCII words anywhere in the file."""
        return {word.decode() for word in _WORD.findall(self._lower)}

    def find(self, form: str) -> str | None:
        """Where ``form`` stands, or None."""
        wanted, bare = folded(form), plain(form)
        if wanted in self._all or bare in self._plain:
            for where, text, stripped in self._elements:
                if wanted in text or bare in stripped:
                    return where
        if form.isascii():
            if form.lower().encode() in self._lower:
                return "bytes of the file"
            for order in ("le", "be"):
                if form.lower().encode(f"utf-16-{order}") in self._lower:
                    return f"bytes of the file, UTF-16 {order}"
            return None
        for encoding, needle in _needles(form):
            if needle in self._raw:
                return f"bytes of the file, {encoding}"
        return None


def _both(text: str) -> tuple[str, str]:
    return folded(text), plain(text)


def _inflated(raw: bytes) -> bytes:
    start = 144 + int.from_bytes(raw[140:144], "little")
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw[start:])
    except zlib.error:
        return b""


@lru_cache(maxsize=4096)
def _needles(form: str) -> tuple[tuple[str, bytes], ...]:
    found: dict[bytes, str] = {}
    for text in (form, form.lower(), form.upper(), form.capitalize()):
        for encoding in _ENCODINGS:
            try:
                needle = text.encode(encoding)
            except UnicodeEncodeError:
                continue
            for escape in _ESCAPES:
                needle = needle.replace(escape, b"")
            if len(needle) >= _SHORTEST:
                found.setdefault(needle, encoding)
    return tuple((encoding, needle) for needle, encoding in found.items())
