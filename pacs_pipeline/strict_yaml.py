"""Reads YAML in which a repeated key is an error, not a silent overwrite."""

from __future__ import annotations

from typing import Any

import yaml


class UniqueKeysLoader(yaml.SafeLoader):
    """``yaml.SafeLoader``; raises ConstructorError, with its line, for a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: D102
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
