"""``python -m benchmarks.embedded_pacs FOLDER AE_TITLE PORT [DESTINATION=PORT …]``: the demo's PACS as a process."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from pacs_pipeline.demo.pacs import EmbeddedPacs
from pacs_pipeline.demo.ports import LOOPBACK
from pacs_pipeline.demo.supervise import wait_for_end


def main(folder: str, ae_title: str, port: str, *destinations: str) -> None:
    """Serve until told to stop."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    moves = {title: (LOOPBACK, int(at)) for title, _, at in (text.partition("=") for text in destinations)}
    with EmbeddedPacs(Path(folder), ae_title, int(port), moves):
        wait_for_end(os.getppid(), lambda: False)


if __name__ == "__main__":
    main(*sys.argv[1:])
