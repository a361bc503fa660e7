"""Everything the demo needs around the pipeline, started and stopped as one: two PACS and an object store."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pacs_pipeline.demo.atomic import write_text
from pacs_pipeline.demo.object_store import EmbeddedObjectStore
from pacs_pipeline.demo.pacs import EmbeddedPacs
from pacs_pipeline.demo.plan import Population
from pacs_pipeline.demo.population import PARAMETERS, WrittenInstance, generate, is_complete
from pacs_pipeline.demo.ports import LOOPBACK, remembered_ports
from pacs_pipeline.demo.project import CONFIGURATION, SITES, write_project
from pacs_pipeline.errors import Busy, SettingsError, Transient

DEMO_POPULATION = Population(patients=12, seed=20240304, sites=tuple(site.name for site in SITES), instances=160)
STATE = "services.json"
LOG = "services.log"
_START_SECONDS = 600.0  # the first start reads every header of the population
_STOP_SECONDS = 60.0


def prepare(
    data: Path,
    population: Population = DEMO_POPULATION,
    on_progress: Callable[[WrittenInstance], None] | None = None,
) -> Path:
    """Have the sample population below ``data``; returns its folder. Does nothing when it is there already.

    An interrupted population is completed, one of other parameters is replaced.
    """
    folder = data / "population"
    if is_complete(folder, population):
        return folder
    try:
        generate(folder, population, on_progress)
    except SettingsError:
        if not (folder / PARAMETERS).is_file():
            raise  # whatever that is, it is not ours to delete
        shutil.rmtree(folder)
        generate(folder, population, on_progress)
    return folder


@contextlib.contextmanager
def run_services(data: Path) -> Iterator[dict[str, object]]:
    """Run the services in this process; yields what ``services.json`` then says about them.

    They serve the population that is there, or the demo's. Raises Busy when another process runs them for
    the same folder.
    """
    data = data.absolute()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_exclusively(data))
        folder = data / "population" if is_complete(data / "population") else prepare(data)
        names = tuple(f"{kind}.{site.name}" for site in SITES for kind in ("pacs", "receiver"))
        ports = remembered_ports(data / "ports.json", names)
        receivers = {s.receiver_ae_title: (LOOPBACK, ports[f"receiver.{s.name}"]) for s in SITES if s.receiver_ae_title}
        store = stack.enter_context(EmbeddedObjectStore(data / "store"))
        pacs = {}
        for site in SITES:
            (folder / site.name).mkdir(exist_ok=True)
            archive = EmbeddedPacs(folder / site.name, site.ae_title, ports[f"pacs.{site.name}"], receivers)
            pacs[site.name] = stack.enter_context(archive)
        configuration = write_project(
            data,
            pacs_ports={name: archive.port for name, archive in pacs.items()},
            receiver_ports={site.name: ports[f"receiver.{site.name}"] for site in SITES},
            endpoint_url=store.endpoint_url,
            access_key_file=store.access_key_file,
            secret_key_file=store.secret_key_file,
        )
        state: dict[str, object] = {
            "pid": os.getpid(),
            "configuration": str(configuration),
            "population": str(folder),
            "pacs": {name: {"ae_title": a.ae_title, "host": LOOPBACK, "port": a.port} for name, a in pacs.items()},
            "object_store": {"endpoint_url": store.endpoint_url, "pid": store.pid, "log": str(store.log_file)},
        }
        write_text(data / STATE, json.dumps(state, indent=1) + "\n")
        stack.callback((data / STATE).unlink, missing_ok=True)
        yield state


class DemoServices:
    """The services in a process of their own, so that they don't compete with the pipeline for this one's GIL.

    A context manager; they end with it or with this process. ``on_progress`` hears of every instance of the
    population that had to be made.
    """

    def __init__(
        self,
        data: Path,
        population: Population = DEMO_POPULATION,
        on_progress: Callable[[WrittenInstance], None] | None = None,
    ) -> None:
        self.data = data.absolute()
        self.population = population
        self._on_progress = on_progress
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def configuration(self) -> Path:
        """The configuration to run the pipeline with."""
        return self.data / CONFIGURATION

    def start(self) -> None:
        """Make the population if need be, start the services and wait until they answer.

        Raises Busy when another process runs them for the same folder, Transient when they don't come up.
        """
        if self._process is not None:
            return
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _exclusively(self.data):  # another demo's state and population are not ours to touch
            prepare(self.data, self.population, self._on_progress)
            (self.data / STATE).unlink(missing_ok=True)
        with (self.data / LOG).open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __package__, "serve", "--data", str(self.data), "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the pipeline, which still needs its services to finish
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the services; returns when they are gone and the stored data are on disk."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> DemoServices:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        give_up = time.monotonic() + _START_SECONDS
        while time.monotonic() < give_up:
            if (self.data / STATE).is_file():
                return
            if process.poll() is not None:
                lines = (self.data / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
                reason = next((line for line in reversed(lines) if line.strip()), "no reason given")
                raise Transient(f"the demo's services did not start: {reason}", fix=f"see {self.data / LOG}")
            time.sleep(0.05)
        raise Transient("the demo's services do not become ready", fix=f"see {self.data / LOG}")


@contextlib.contextmanager
def _exclusively(data: Path) -> Iterator[None]:
    """Hold the folder against other processes; the lock ends with this process whatever happens."""
    lock = os.open(data / "services.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"the demo's services already run for {data}", fix="stop that demo first or name another folder"
            ) from None
        yield
    finally:
        os.close(lock)
