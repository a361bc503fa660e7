"""UIDs as they are trusted here: text that came from a peer and may become a file name only after this."""

from __future__ import annotations

import re

_UID = re.compile(r"[0-9][0-9.]{0,63}")


def is_uid(text: str) -> bool:
    """Whether ``text`` can stand for a UID: digits and dots, at most 64, not starting with a dot (PS3.5 9.1).

    Leading zeros and empty components are let through: archives hold such instances, and they have to be fetched
    and accounted for. What passes is always safe as the name of a file or folder.

    >>> is_uid("1.2.840.10008.1.2"), is_uid("1.2.a"), is_uid("../1.2"), is_uid(".."), is_uid("")
    (True, False, False, False, False)
    """
    return _UID.fullmatch(text) is not None
