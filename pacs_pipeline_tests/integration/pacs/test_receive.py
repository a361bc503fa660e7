"""``pacs-pipeline receive`` as a process of its own, with DCMTK's storescu as the scanner."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacs_pipeline import storage
from pacs_pipeline.pacs import Landing
from pacs_pipeline.records import Partition
from pacs_pipeline.settings import load_settings
from pacs_pipeline.stages.file_archives import inbox_of
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.sources import Source
from pacs_pipeline_tests.integration.pacs.archive import STUDY, STUDY_DATE, build
from pacs_pipeline_tests.integration.servers import free_port, program, running
from pacs_pipeline_tests.unit.pacs.files.dicom_files import DAY, NAME, Made

pytestmark = pytest.mark.integration

PIPELINE = [sys.executable, "-c", "from pacs_pipeline.cli import main; main()"]


class Installation:
    """A project with one site that pushes."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.port = free_port()
        self.config = tmp_path / "pacs_pipeline.yaml"
        self.log = tmp_path / "receive.log"
        (tmp_path / "secret").write_text("s" * 64)
        self.config.write_text(
            "project: example\nsecret_file: secret\nbucket: {name: research}\nzones: {root: zones}\nsites:\n"
            "  - name: scanners\n    timezone: Europe/Berlin\n    start_date: 2024-01-01\n    protocol: push\n"
            "    minimum_free_gib: 0\n"
            f"    receiver: {{ae_title: PIPELINE, port: {self.port}, bind: 127.0.0.1}}\n"
        )
        self.project = Project(load_settings(self.config))
        self.site = self.project.settings.site("scanners")

    @contextlib.contextmanager
    def receiving(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [*PIPELINE, "receive", "--config", str(self.config), "--every", "1"]
        with running(command, [self.port], self.log) as process:
            yield process

    def send(self, *files: Path, patience: float = 60) -> list[Path]:
        """Push files with one association; those that were acknowledged with Success."""
        command = [
            program("storescu", "dcmtk"),
            "-v",
            "-aec",
            "PIPELINE",
            "127.0.0.1",
            str(self.port),
            *map(str, files),
        ]
        sent = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience)
        acknowledged, current = [], None
        for line in (sent.stdout + sent.stderr).splitlines():
            if match := re.search(r"Sending file: (.*)", line):
                current = Path(match[1])
            elif "Received Store Response (Success)" in line and current is not None:
                acknowledged.append(current)
        return acknowledged

    def found(self) -> set[str]:
        """Every SOPInstanceUID that the archive of the site lists and brings."""
        brought = set()
        source = Source.of(self.project, self.site)
        with source.open_archive() as archive, source.open_retriever() as retriever:
            for study in archive.find_studies(DAY):
                for series in study.series:
                    refs = archive.find_instances(series)
                    uids = {ref.SOPInstanceUID for ref in refs}
                    landing = Landing(series, uids, self.folder / "into" / series.SeriesInstanceUID)
                    report = retriever.retrieve(landing, refs)
                    assert report.failures == ()
                    brought |= {landed.SOPInstanceUID for landed in report.landed}
        return brought

    def is_marked(self, date: dt.date = DAY) -> bool:
        return bool(storage.read_mark(self.project.zones.state.partition(Partition("scanners", date))))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_what_is_pushed_is_the_archive_of_the_site(installation: Installation, tmp_path: Path) -> None:
    files = [Made(number).write(tmp_path / "export" / f"{number}.dcm") for number in range(1, 21)]
    with installation.receiving() as process:
        assert installation.send(*files) == files
        assert installation.send(*files[:5]) == files[:5]
        assert installation.is_marked()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert installation.found() == {Made(number).SOPInstanceUID for number in range(1, 21)}
    said = installation.log.read_text()
    assert "20 instances stored, 0 of them new versions, 5 duplicates, 0 refused" in said
    assert NAME not in said
    assert "1.2.3.10" not in said


def test_every_kind_of_object_as_it_was_stored(installation: Installation, tmp_path: Path) -> None:
    stored = build(tmp_path / "archive")
    with installation.receiving():
        for file in stored:  # one proposal for each transfer syntax, so that storescu sends as stored
            option = {"1.2.840.10008.1.2": "-xi", "1.2.840.10008.1.2.1": "-xe", "1.2.840.10008.1.2.2": "-xb"}
            chosen = option.get(file.TransferSyntaxUID, "-xd" if file.TransferSyntaxUID.endswith("1.99") else "")
            extra = [chosen] if chosen else _proposal(file.TransferSyntaxUID)
            command = [
                program("storescu", "dcmtk"),
                *extra,
                "-R",
                "-aec",
                "PIPELINE",
                "127.0.0.1",
                str(installation.port),
            ]
            subprocess.run([*command, str(file.path)], check=True, capture_output=True)
    site = installation.site
    source = Source.of(installation.project, site)
    with source.open_archive() as archive, source.open_retriever() as retriever:
        (study,) = archive.find_studies(STUDY_DATE)
        assert study.StudyInstanceUID == STUDY
        landed = {}
        for series in study.series:
            refs = archive.find_instances(series)
            report = retriever.retrieve(Landing(series, {r.SOPInstanceUID for r in refs}, tmp_path / "into"), refs)
            landed |= {each.SOPInstanceUID: (each.TransferSyntaxUID, each.sha256) for each in report.landed}
    assert landed == {file.SOPInstanceUID: (file.TransferSyntaxUID, file.sha256) for file in stored}


def _proposal(syntax: str) -> list[str]:
    names = {"50": "-xy", "70": "-xs", "90": "-xv", "91": "-xw", "80": "-xt", "81": "-xu", "5": "-xr", "51": "-xx"}
    return [names[syntax.rsplit(".", 1)[1]]]


@pytest.mark.parametrize("after", [0.05, 0.5])
def test_a_receiver_that_is_killed_has_everything_it_acknowledged(
    installation: Installation, tmp_path: Path, after: float
) -> None:
    files = [Made(number, pixels=os.urandom(200_000)).write(tmp_path / f"{number}.dcm") for number in range(1, 151)]
    with installation.receiving() as process:
        command = [program("storescu", "dcmtk"), "-v", "-aec", "PIPELINE", "127.0.0.1", str(installation.port)]
        with (tmp_path / "storescu.log").open("wb") as output:
            sender = subprocess.Popen([*command, *map(str, files)], stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while b"(Success)" not in (tmp_path / "storescu.log").read_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(after)
        process.kill()
        process.wait()
        sender.wait(60)
    acknowledged = (tmp_path / "storescu.log").read_text().count("Received Store Response (Success)")
    assert acknowledged
    assert installation.is_marked()
    before = installation.found()
    assert len(before) >= acknowledged
    assert {Made(number).SOPInstanceUID for number in range(1, acknowledged + 1)} <= before
    with installation.receiving():
        assert installation.send(*files) == files
    assert installation.found() == {Made(number).SOPInstanceUID for number in range(1, 151)}
    assert not list(inbox_of(installation.project, installation.site).rglob("*@*"))


def test_a_second_receiver_and_a_wrong_configuration_say_so(installation: Installation, tmp_path: Path) -> None:
    def outcome(*arguments: str) -> int:
        command = [*PIPELINE, "receive", *arguments]
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode

    with installation.receiving():
        assert outcome("--config", str(installation.config)) == 1
    assert outcome("--config", str(installation.config), "--site", "nowhere") == 2
    assert outcome("--config", str(tmp_path / "none.yaml")) == 2
