from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from pacs_pipeline.demo.ports import is_free, remembered_ports


def test_ports_are_free_distinct_and_the_same_next_time(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    ports = remembered_ports(file, ("a", "b", "c"))
    assert len(set(ports.values())) == 3
    assert all(is_free(port) for port in ports.values())
    assert remembered_ports(file, ("a", "b", "c")) == ports


def test_a_port_that_was_taken_meanwhile_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    ports = remembered_ports(file, ("a", "b"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports["a"]))
        taken.listen()
        again = remembered_ports(file, ("a", "b"))
    assert again["a"] != ports["a"]
    assert again["b"] == ports["b"]
    assert json.loads(file.read_text()) == again


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"a": "x", "b": 70000}', '{"a": -1, "b": 0}', '{"a": 5, "b": 5}', "a\x00"]
)
def test_a_damaged_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ports.json"
    file.write_text(content)
    ports = remembered_ports(file, ("a", "b"))
    assert ports["a"] != ports["b"]
    assert all(1024 <= port <= 65535 for port in ports.values())
