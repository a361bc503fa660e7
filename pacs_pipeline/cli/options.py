"""The options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None, typer.Option("--config", help="the settings; default $PACS_PIPELINE_CONFIG or ./pacs_pipeline.yaml")
]
Site = Annotated[str, typer.Option("--site", help="the name of a site in the settings")]
