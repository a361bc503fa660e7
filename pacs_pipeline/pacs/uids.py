"""UIDs as they are trusted here: text that came from a peer and may become a file name only after this."""

from __future__ import annotations

import re

_UID = re.compile(r"[0-9][0-9.]{0,63}")


def is_uid(text: str) -> bool:
    """Whether ``text`` has only a UID's characters and length (PS3.5 9.1).

    More lenient than the standard about leading zeros and empty components, which archives get wrong, but
    always safe as the name of a file or folder.

    >>> is_uid("1.2.840.10008.1.2"), is_uid("../1.2"), is_uid(".."), is_uid("")
    (True, False, False, False)
    """
    return _UID.fullmatch(text) is not None
