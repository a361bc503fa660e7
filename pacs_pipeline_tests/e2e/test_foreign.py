"""The chain of ``pacs-pipeline run`` against an Orthanc filled with files this project did not make."""

import datetime as dt
import json
import urllib.error
import urllib.request
from pathlib import Path

import data_store
import deid_data
import pytest
import yaml

from pacs_pipeline.settings import load_settings
from pacs_pipeline.stages.chain import run_chain
from pacs_pipeline.stages.project import Project
from pacs_pipeline_tests.integration.servers.orthanc import OrthancServer, orthanc
from pacs_pipeline_tests.integration.servers.processes import free_port
from pacs_pipeline_tests.integration.servers.s3 import seaweedfs

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.filterwarnings("default")]
CONTRACTS = Path(__file__).parents[2] / "data_contracts"


def _fill(server: OrthancServer) -> None:
    """Give Orthanc every foreign file it takes; it refuses what is no DICOM."""
    roots = [Path(str(package.__file__)).parent / "data" for package in (data_store, deid_data)]
    for file in sorted(path for root in roots for path in root.rglob("*") if path.is_file()):
        try:
            server.fill([file])
        except urllib.error.HTTPError as error:
            assert error.code == 400  # noqa: PT017 - anything else is a fault of the test's server


def _studies(server: OrthancServer) -> dict[str, int]:
    """Instances by StudyDate, as Orthanc itself counts them; studies without a date cannot be asked for by date."""
    with urllib.request.urlopen(f"{server.url}/studies?expand", timeout=30) as answer:
        studies = json.load(answer)
    by_date: dict[str, int] = {}
    for study in studies:
        date = study["MainDicomTags"].get("StudyDate", "")
        with urllib.request.urlopen(f"{server.url}/studies/{study['ID']}/statistics", timeout=30) as answer:
            by_date[date] = by_date.get(date, 0) + int(json.load(answer)["CountInstances"])
    return {date: count for date, count in by_date.items() if len(date) == 8 and date.isdigit()}


@pytest.mark.parametrize("protocol", ["c-get", "c-move", "dicomweb"])
def test_every_instance_is_published_or_quarantined_with_a_reason(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = free_port()
    with (
        orthanc(tmp_path, destinations={"PIPELINE": receiver}, dicomweb=protocol == "dicomweb") as server,
        seaweedfs(tmp_path) as store,
    ):
        _fill(server)
        expected = _studies(server)
        assert sum(expected.values()) > 40
        configuration = tmp_path / "pacs_pipeline.yaml"
        site = {
            "name": "foreign",
            "timezone": "UTC",
            "start_date": "1990-01-01",
            "protocol": protocol,
            "pacs": {"host": server.host, "port": server.port, "ae_title": server.ae_title},
            "dicomweb": {"url": server.dicomweb_url},
            "receiver": {"ae_title": "PIPELINE", "port": receiver, "bind": "127.0.0.1"},
        }
        content = {
            "project": "foreign",
            "sites": [site],
            "bucket": {"name": "foreign", "endpoint_url": store.endpoint_url},
            "contracts": str(CONTRACTS),
        }
        configuration.write_text(yaml.safe_dump(content))
        monkeypatch.setenv("PACS_PIPELINE_SECRET", "s" * 64)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)
        project = Project(load_settings(configuration))
        dates = [dt.datetime.strptime(date, "%Y%m%d").date() for date in sorted(expected)]
        results = list(run_chain(project, "foreign", dates, now=lambda: dt.datetime.now(dt.UTC)))
        assert [str(result.error) for result in results if result.error] == []
        books = [result.books for result in results if result.books is not None]
        assert sum(b.expected for b in books) == sum(expected.values())
        assert [b for b in books if not b.closed] == []
        # Debian's Orthanc 1.10.1 cannot send explicit_VR-UN.dcm ("No presentation context"), and one instance has
        # letters in its SOPInstanceUID, which nothing takes from the network: written down, not lost
        assert sum(b.unavailable for b in books) <= 2
        assert sum(b.published for b in books) > 0
