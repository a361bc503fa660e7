"""Writes ``tables/attribute_types.csv`` from the module tables of PS3.3: ``python -m … build_types FOLDER``.

FOLDER holds the JSON renderings of PS3.3 that the package highdicom ships (``highdicom/_standard``). Only the
attributes for which Table E.1-1 leaves a choice that depends on their type are written, and the labels and technical
texts outside it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword

from pacs_pipeline.deidentify.confidentiality_table import read_table
from pacs_pipeline.deidentify.labels import labels
from pacs_pipeline.deidentify.vocabulary import technical_tags

TARGET = Path(__file__).with_name("tables") / "attribute_types.csv"


def types(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Scope, tag and type: the scope is a SOP Class UID at the top level, the keyword of the sequence below it.

    Where modules or paths disagree the stricter type holds: 1 before 2 before 3.
    """
    classes, modules, attributes = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("sop_class_iod_map.json", "iod_module_map.json", "module_attribute_map.json")
    )
    choices = {int(row.tag, 16) for row in read_table() if "/" in row.basic and "x" not in row.tag}
    wanted = choices | labels() | technical_tags()
    strictest: dict[tuple[str, int], str] = {}
    for sop_class, iod in classes.items():
        for attribute in (a for module in modules.get(iod, ()) for a in attributes.get(module["key"], ())):
            tag = tag_for_keyword(attribute["keyword"])
            if tag in wanted:
                scope = attribute["path"][-1] if attribute["path"] else sop_class
                kind = attribute["type"][0]
                strictest[scope, tag] = min(kind, strictest.get((scope, tag), kind))
    for (scope, tag), kind in sorted(strictest.items()):
        yield scope, f"{tag:08X}", kind


def main(arguments: Any = None) -> None:
    """Write the table."""
    (folder,) = arguments or sys.argv[1:]
    with TARGET.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("scope", "tag", "type"))
        writer.writerows(types(Path(folder)))


if __name__ == "__main__":
    main()
