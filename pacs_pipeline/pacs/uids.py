"""UIDs as they are trusted here: text that came from a peer and may become a file name only after this."""

from __future__ import annotations

import re

_UID = re.compile(r"[0-9][0-9.]{0,63}")
_LISTED = re.compile(r"[0-9A-Za-z][0-9A-Za-z.]{0,63}")


def is_uid(text: str) -> bool:
    """Whether ``text`` can stand for a UID: digits and dots, at most 64, not starting with a dot (PS3.5 9.1).

    Leading zeros and empty components are let through: archives hold such instances, and they have to be fetched
    and accounted for. What passes is always safe as the name of a file or folder.

    >>> is_uid("1.2.840.10008.1.2"), is_uid("1.2.a"), is_uid("../1.2"), is_uid(".."), is_uid("")
    (True, False, False, False, False)
    """
    return _UID.fullmatch(text) is not None


def is_listed_uid(text: str) -> bool:
    """Whether ``text`` can stand for a UID in the answer to a query, and in the next query: letters pass as well.

    Archives hold studies whose UIDs were made from hashes. They have to be counted and accounted for; what of them is
    no UID in the end is not taken into the landing zone. What passes is no pattern and no path.

    >>> is_listed_uid("1.2.a"), is_listed_uid("1.2.*"), is_listed_uid("../1.2")
    (True, False, False)
    """
    return _LISTED.fullmatch(text) is not None
