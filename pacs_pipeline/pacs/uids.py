"""UIDs as they are trusted here: text that came from a peer and may become a file name only after this."""

from __future__ import annotations

import re

_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z.]{0,63}")


def is_uid(text: str) -> bool:
    """Whether ``text`` can stand for a UID: letters, digits and dots, at most 64, not starting with a dot.

    More lenient than the standard (PS3.5 9.1), since archives hold instances whose UIDs were made from hashes:
    they have to be fetched and accounted for, and de-identification sets them aside with a reason. What passes
    is always safe as the name of a file or folder.

    >>> is_uid("1.2.840.10008.1.2"), is_uid("../1.2"), is_uid(".."), is_uid("")
    (True, False, False, False)
    """
    return _UID.fullmatch(text) is not None
