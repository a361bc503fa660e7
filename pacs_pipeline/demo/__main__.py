"""``python -m pacs_pipeline.demo serve --data DIR``: the demo's PACS and object store as a process."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from pacs_pipeline.demo.services import run_services
from pacs_pipeline.demo.supervise import wait_for_end
from pacs_pipeline.errors import PipelineError

logger = logging.getLogger("pacs_pipeline.demo")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM, SIGINT or the end of the parent; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pacs_pipeline.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run two PACS and an object store until told to stop")
    serve.add_argument("--data", type=Path, required=True, help="the folder that keeps everything")
    serve.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # what a peer refuses is in the DIMSE status
    try:
        with run_services(options.data) as state:
            logger.info("ready, process %s", state["pid"])
            wait_for_end(options.parent or os.getppid(), lambda: False)
    except PipelineError as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
