"""Reads multipart/related as it comes (RFC 2046 5.1, RFC 2387): parts in chunks, whatever their size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

_CHUNK = 1 << 18
_LONGEST_HEAD = 1 << 16  # of what comes before the first part, and of the header of a part
_CRLF = b"\r\n"


class Malformed(Exception):
    """What came is not what its header says, or breaks off before its end, although the message is complete."""


class Multipart:
    """The parts of one message. ``read`` gives the next bytes, at most as many as asked for; none at the end.

    Where a part ends is said by the boundary alone: lengths in its header may be wrong. Memory is that of a chunk.
    """

    def __init__(self, read: Callable[[int], bytes], boundary: bytes) -> None:
        self._read = read
        self._delimiter = _CRLF + b"--" + boundary
        self._window = _CRLF  # the first delimiter may stand at the very start
        self._over = False

    def parts(self) -> Iterator[Iterator[memoryview]]:
        """The content of each part in chunks that are valid until the next; ends after the closing delimiter.

        Raises Malformed, and whatever ``read`` raises.
        """
        passed = 0
        for chunk in self._until_delimiter():
            passed += len(chunk)
            if passed > _LONGEST_HEAD:
                raise Malformed("it does not hold the boundary that its header names")
        while not self._over:
            self._skip_header()
            content = self._content()
            yield content
            for _ in content:  # the rest of a part that nobody wanted to its end
                pass

    def _skip_header(self) -> None:
        """Move the window to the line break in front of the content; the delimiter's own is still there."""
        while (end := self._window.find(_CRLF * 2)) < 0:
            if len(self._window) > _LONGEST_HEAD:
                raise Malformed("the header of a part does not end")
            self._more()
        self._window = self._window[end + len(_CRLF) :]

    def _content(self) -> Iterator[memoryview]:
        while len(self._window) < len(self._delimiter):
            self._more()
        if not (self._window.startswith(self._delimiter) and self._passes_delimiter()):  # else it is empty
            self._window = self._window[len(_CRLF) :]
            yield from self._until_delimiter()

    def _until_delimiter(self) -> Iterator[memoryview]:
        """What comes before the next delimiter, which is passed."""
        while True:
            at = self._window.find(self._delimiter)
            if at >= 0:
                if at:
                    yield memoryview(self._window)[:at]
                    self._window = self._window[at:]
                if self._passes_delimiter():
                    return
                safe = len(self._delimiter)
            else:
                safe = max(len(self._window) - len(self._delimiter) + 1, 0)  # a delimiter may have begun after it
            if safe:
                yield memoryview(self._window)[:safe]
                self._window = self._window[safe:]
            if at < 0:
                self._more()

    def _passes_delimiter(self) -> bool:
        """Whether the window, which starts like a delimiter, starts with one: nothing but blanks may follow."""
        start = len(self._delimiter)
        while True:
            rest = self._window[start : start + _LONGEST_HEAD]
            if rest.startswith(b"--"):
                self._over = True
                return True
            line = rest.lstrip(b" \t")
            if line.startswith(_CRLF):
                self._window = self._window[start + len(rest) - len(line) :]
                return True
            if line not in (b"", b"-", b"\r") or len(rest) == _LONGEST_HEAD:
                return False
            self._more()

    def _more(self) -> None:
        chunk = self._read(_CHUNK)
        if not chunk:
            raise Malformed("it breaks off before its end")
        self._window += chunk
