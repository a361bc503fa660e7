"""``pacs-pipeline census`` over a range of dates."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pacs_pipeline.cli.commands import app
from pacs_pipeline_tests.unit.pacs.archives import FaultyArchive, entry, study
from pacs_pipeline_tests.unit.pacs.peers import OUR_TITLE, Talk, finds, scripted


def test_a_range_is_taken_and_only_what_is_missing_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACS_PIPELINE_SECRET", "s" * 64)
    crowd = [study(100 + n, "120000", date="20240311") for n in range(12)]
    archive = FaultyArchive([study(1, "10"), study(2, date="20240310"), *crowd], 10)

    def find(talk: Talk) -> None:
        if talk.identifier.QueryRetrieveLevel == "STUDY":
            archive.find(talk)
        else:
            finds(entry(SeriesInstanceUID="1.2.1.1", Modality="CT", NumberOfSeriesRelatedInstances="3"))(talk)

    with scripted(find=find) as endpoint:
        site = {
            "name": "north",
            "timezone": "UTC",
            "start_date": "2024-01-01",
            "ae_title": OUR_TITLE,
            "pacs": {"host": endpoint.host, "port": endpoint.port, "ae_title": endpoint.ae_title},
        }
        config = tmp_path / "pacs_pipeline.yaml"
        config.write_text(yaml.safe_dump({"project": "test", "sites": [site], "bucket": {"name": "test"}}))
        command = ["census", "--site", "north", "--from", "2024-03-09", "--config", str(config)]
        whole = CliRunner().invoke(app, [*command, "--to", "2024-03-10"])
        assert whole.exit_code == 0, whole.output
        assert len(archive.asked) == 2
        again = CliRunner().invoke(app, [*command, "--to", "2024-03-12", "--missing"])
        assert again.exit_code == 1  # a day whose answer is cut off for good, and the others all the same
    dates = [keys["StudyDate"] for keys in archive.asked]
    assert dates[:2] == ["20240309", "20240310"]
    assert set(dates[2:]) == {"20240311", "20240312"}
