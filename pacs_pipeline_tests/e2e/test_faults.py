"""What production does to a run: kills, two runs at once, a contract that fails. Nothing is lost, nothing twice."""

import shutil
import signal
import subprocess
import sys

import pytest

from pacs_pipeline import warehouse
from pacs_pipeline.records import Stage
from pacs_pipeline_tests.e2e.conftest import Demo

pytestmark = [pytest.mark.e2e]

KILLED_BEFORE_COMMIT = """
import os, signal, sys
from pacs_pipeline import storage
from pacs_pipeline.stages import project
stage, commit, verdict = sys.argv.pop(1), project.Project.commit, storage.write_verdict
def die_at(this):
    if this == stage:
        os.kill(os.getpid(), signal.SIGKILL)
def committing(self, manifest):
    die_at(manifest.stage)
    return commit(self, manifest)
def judging(*arguments):
    die_at("validate")
    return verdict(*arguments)
project.Project.commit, storage.write_verdict = committing, judging
from pacs_pipeline.cli import main
main()
"""


def assert_whole(demo: Demo, site: str) -> None:
    """Every instance is accounted for, and the lake holds exactly what is published."""
    books = demo.books(site)
    assert books
    assert all(b.closed for b in books), books
    settings = demo.project.settings
    published = sum(b.published for b in books)
    assert published > 0
    assert warehouse.totals(settings.warehouse.path)["instance"] == published
    assert demo.project.bucket.totals()[0] == published


def test_a_run_killed_at_each_stage_is_finished_by_the_next(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    for round_, days in enumerate(("3650", "900")):  # the second round remakes everything over what the first left
        monkeypatch.setenv("PACS_PIPELINE_DEIDENTIFY__MAX_DATE_SHIFT_DAYS", days)
        for stage in Stage:
            script = [sys.executable, "-c", KILLED_BEFORE_COMMIT, stage.value]
            killed = subprocess.run([*script, *demo.command("north")[1:]], capture_output=True, check=False)
            assert killed.returncode in (-signal.SIGKILL, 0)
            assert killed.returncode or round_, f"nothing was killed at {stage}"
        finished = demo.run("north")
        assert finished.returncode == 0, finished.stdout + finished.stderr
        books = demo.books("north")
        assert all(b.closed for b in books), books
        assert warehouse.totals(demo.project.settings.warehouse.path)["instance"] == sum(b.published for b in books)


def test_a_run_killed_at_any_moment_is_finished_by_the_next(demo: Demo) -> None:
    for seconds in (1.0, 2.5, 4.0, 6.0):
        running = subprocess.Popen(demo.command("south"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            running.wait(seconds)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
    finished = demo.run("south")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_whole(demo, "south")


def test_tables_that_a_killed_run_left_behind_are_made_again(demo: Demo) -> None:
    assert demo.run("north").returncode == 0
    left = [
        path
        for zone in (demo.project.zones.landing, demo.project.zones.staging)
        for path in zone.root.rglob("*.parquet")
    ]
    assert {"census.parquet", "harvest.parquet", "instances.parquet", "published.parquet"} <= {p.name for p in left}
    for path in left:
        path.write_bytes(b"newer than its manifest")
    finished = demo.run("north")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_whole(demo, "north")


def test_two_runs_of_the_same_partitions_at_once(demo: Demo) -> None:
    both = [
        subprocess.Popen(demo.command("north"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [running.communicate(timeout=200)[0] for running in both]
    assert [running.returncode for running in both] == [0, 0], said
    assert_whole(demo, "north")


def test_a_contract_that_fails_withholds_the_partition_and_is_named(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    contracts = demo.folder / "contracts"
    shutil.copytree(demo.project.settings.contracts, contracts)
    file = contracts / "studies.odcs.yaml"
    text = file.read_text()
    assert "- name: instances" in text
    file.write_text(text.replace("minimum: 1\n", "minimum: 1000000\n"))
    monkeypatch.setenv("PACS_PIPELINE_CONTRACTS", str(contracts))
    withheld = demo.run("north")
    assert withheld.returncode == 1
    assert "failed" in withheld.stdout
    assert not demo.project.settings.warehouse.path.exists()
    assert not any(b.closed for b in demo.books("north") if b.expected)
    monkeypatch.delenv("PACS_PIPELINE_CONTRACTS")
    assert demo.run("north").returncode == 0
    assert_whole(demo, "north")
