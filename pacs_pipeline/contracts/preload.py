"""Imported ahead by the processes that judge contracts: the engine takes seconds to import."""

from pacs_pipeline.contracts.gx import quiet_engine

with quiet_engine():
    from great_expectations.render.renderer import page_renderer as page_renderer
