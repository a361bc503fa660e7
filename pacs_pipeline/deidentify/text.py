"""Decodes text by SpecificCharacterSet (PS3.5 6.1, PS3.3 C.12.1.1.2), tolerant and without warnings.

Used to learn who an instance is about, never to decide what is written: the output is plain ASCII.
"""

from __future__ import annotations

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

from pacs_pipeline.deidentify.codec import Element, Elements, components

SPECIFIC_CHARACTER_SET = 0x00080005
DEFAULT = ("latin-1",)
ESCAPE = b"\x1b"


def charsets_of(dataset: Elements, inherited: tuple[str, ...] = DEFAULT) -> tuple[str, ...]:
    """The Python codecs of a data set, the first one being its default."""
    element = dataset.get(SPECIFIC_CHARACTER_SET)
    if element is None or not isinstance(element.value, bytes):
        return inherited
    codecs = tuple(python_encoding.get(name, "latin-1") for name in components(element.value))
    return tuple("latin-1" if codec == "iso8859" else codec for codec in codecs) or inherited


def decoded(value: bytes, charsets: tuple[str, ...]) -> str:
    """``value`` as text; code extensions (escape sequences) are followed, undecodable bytes left out."""
    if ESCAPE not in value:
        return value.decode(charsets[0], "ignore")
    first, *rest = value.split(ESCAPE)
    text = [first.decode(charsets[0], "ignore")]
    for fragment in rest:
        sequence, codec = next(
            ((code, name) for code, name in CODES_TO_ENCODINGS.items() if (ESCAPE + fragment).startswith(code)),
            (ESCAPE, charsets[0]),
        )
        body = fragment[len(sequence) - 1 :]
        if codec.startswith("iso2022"):  # the codec reads the escape sequence itself
            body = sequence + body
        text.append(body.decode("latin-1" if codec == "iso8859" else codec, "ignore"))
    return "".join(text)


def text_of(element: Element | None, charsets: tuple[str, ...]) -> str:
    """The decoded value of a text element without padding; empty when it is absent or no text."""
    if element is None or not isinstance(element.value, bytes):
        return ""
    return decoded(element.value, charsets).strip(" \0")
