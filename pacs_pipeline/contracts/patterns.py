"""Regular expressions of ODCS (ECMA-262) in Python's dialect."""

from __future__ import annotations

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_"}


def python_pattern(pattern: str) -> str:
    r"""The same language in Python's ``re``.

    In ECMA-262 ``$`` is the very end (Python's also matches before a last line feed) and ``\d``, ``\w`` are
    ASCII (Python's are not). Either difference would let a value through that the contract forbids.

    >>> print(python_pattern(r"^\d+[$\d]$"))
    ^[0-9]+[$0-9]\Z
    """
    result: list[str] = []
    inside = False  # a character class
    letters = iter(pattern)
    for letter in letters:
        if letter == "\\":
            escaped = next(letters, "")
            if escaped in _CLASSES:
                result.append(_CLASSES[escaped] if inside else f"[{_CLASSES[escaped]}]")
            else:
                result.append(letter + escaped)
        elif letter == "$" and not inside:
            result.append(r"\Z")
        else:
            if letter == "[":
                inside = True
            elif letter == "]":
                inside = False
            result.append(letter)
    return "".join(result)
