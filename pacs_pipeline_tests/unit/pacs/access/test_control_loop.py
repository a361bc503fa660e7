"""The whole control loop against a PACS over TCP that slows down under load."""

from __future__ import annotations

import datetime as dt
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from pacs_pipeline.errors import Busy
from pacs_pipeline.pacs.access import Access
from pacs_pipeline.pacs.client import PacsClient
from pacs_pipeline.records import SeriesRef
from pacs_pipeline_tests.unit.pacs.access.clocks import Clock, access, site
from pacs_pipeline_tests.unit.pacs.peers import Talk, scripted

SECONDS = 0.05  # for an answer of an archive that has nothing else to do


@dataclass
class LoadedPacs:
    """Answers each request over TCP with the seconds it takes: the longer, the more associations are open.

    The seconds are told, not waited for, so the clock of the test decides how long everything takes.
    """

    capacity: int
    own_load: float = 1.0  # times slower for reasons of its own, as in a clinic's rush hour
    steep: bool = False
    peak: int = 0
    port: int = 0
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def seconds(self) -> float:
        excess = max(0, len(self._open) - self.capacity)
        growth = 1 + (2 * excess if self.steep else excess / self.capacity)
        return SECONDS * self.own_load * growth

    @contextmanager
    def serving(self) -> Iterator[LoadedPacs]:
        threads: list[threading.Thread] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]

            def accept() -> None:
                while True:
                    connection, _ = server.accept()
                    if connection.recv(1) == b"q":
                        connection.close()
                        return
                    with self._lock:
                        self._open.add(connection)
                        self.peak = max(self.peak, len(self._open))
                    connection.sendall(b"a")
                    threads.append(threading.Thread(target=self._serve, args=(connection,)))
                    threads[-1].start()

            acceptor = threading.Thread(target=accept)
            acceptor.start()
            try:
                yield self
            finally:
                with socket.create_connection(("127.0.0.1", self.port)) as last:
                    last.sendall(b"q")
                    acceptor.join()
                for thread in threads:
                    thread.join()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while connection.recv(1) == b"f":
                connection.sendall(f"{self.seconds():10.6f}".encode())
            with self._lock:
                self._open.discard(connection)

    @contextmanager
    def association(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"a")
            assert connection.recv(1) == b"a"
            yield connection
            connection.sendall(b"r")
            assert connection.recv(1) == b""  # it has noticed


@dataclass
class Harvest:
    """Keeps as many associations open as it is allowed, and asks over each in turn."""

    pacs: LoadedPacs
    access: Access
    clock: Clock
    held: list[tuple[ExitStack, socket.socket]] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)  # associations in use, round by round

    def rounds(self, count: int) -> list[int]:
        """Let it work; the associations in use in each round."""
        for _ in range(count):
            self._adjust()
            self.access.rest()
            answers = []
            for _, connection in self.held:
                connection.sendall(b"f")
                answers.append(float(connection.recv(10)))
            self.clock.pass_by(seconds=max(answers, default=1.0))
            for seconds in answers:
                self.access.observe("find", seconds)
                self.access.succeeded()
            self.seen.append(len(self.held))
        return self.seen[-count:]

    def _adjust(self) -> None:
        allowed = self.access.allowed
        while len(self.held) > allowed:
            self.held.pop()[0].close()
        while len(self.held) < allowed:
            stack = ExitStack()
            try:
                stack.enter_context(self.access.association(wait_seconds=0))
            except Busy:  # other runs have what there is
                return
            self.held.append((stack, stack.enter_context(self.pacs.association())))

    def end(self) -> None:
        while self.held:
            self.held.pop()[0].close()


@contextmanager
def harvesting(folder: Path, pacs: LoadedPacs, *, associations: int) -> Iterator[Harvest]:
    clock = Clock()
    with pacs.serving(), access(folder, clock, associations=associations) as subject:
        harvest = Harvest(pacs, subject, clock)
        try:
            yield harvest
        finally:
            harvest.end()


def test_it_ends_near_the_capacity_and_not_at_the_budget(tmp_path: Path) -> None:
    with harvesting(tmp_path, LoadedPacs(capacity=4), associations=16) as harvest:
        harvest.rounds(1500)
        settled = harvest.rounds(3000)
        assert set(settled) <= {4, 5, 6}
        assert sum(used > 5 for used in settled) < 0.05 * len(settled)


def test_an_archive_that_breaks_down_beyond_its_capacity_is_rarely_pushed_there(tmp_path: Path) -> None:
    with harvesting(tmp_path, LoadedPacs(capacity=4, steep=True), associations=16) as harvest:
        harvest.rounds(1500)
        settled = harvest.rounds(3000)
        assert harvest.pacs.peak == 5
        assert sum(used > 4 for used in settled) < 0.05 * len(settled)
        assert sum(settled) / len(settled) > 3


def test_an_archive_that_bears_it_gets_the_whole_budget(tmp_path: Path) -> None:
    with harvesting(tmp_path, LoadedPacs(capacity=64), associations=8) as harvest:
        harvest.rounds(1000)
        assert set(harvest.rounds(100)) == {8}
        assert harvest.pacs.peak == 8


def test_it_backs_off_when_the_archive_slows_by_itself_and_recovers(tmp_path: Path) -> None:
    with harvesting(tmp_path, LoadedPacs(capacity=8), associations=6) as harvest:
        harvest.rounds(1000)
        assert harvest.seen[-1] == 6
        harvest.pacs.own_load = 10
        harvest.rounds(30)
        assert harvest.seen[-1] == 1
        harvest.rounds(30)
        assert harvest.access.pause > 1
        begin = harvest.clock.now()
        assert set(harvest.rounds(300)) == {1}
        assert harvest.clock.now() - begin > dt.timedelta(hours=2)  # and hours of slowness are still slowness
        harvest.pacs.own_load = 1
        harvest.rounds(6000)
        assert harvest.access.pause == 0
        assert harvest.seen[-1] == 6


def test_the_next_run_backs_off_from_an_archive_that_is_slow_from_its_beginning(tmp_path: Path) -> None:
    with harvesting(tmp_path, LoadedPacs(capacity=8), associations=6) as harvest:
        harvest.rounds(200)
    with harvesting(tmp_path, LoadedPacs(capacity=8, own_load=10), associations=6) as harvest:
        assert set(harvest.rounds(200)) == {1}
        assert harvest.access.pause > 0


def test_runs_at_the_same_time_stay_within_the_budget_together(tmp_path: Path) -> None:
    pacs, clock = LoadedPacs(capacity=64), Clock()
    with pacs.serving(), ExitStack() as stack:
        runs = [Harvest(pacs, stack.enter_context(access(tmp_path, clock, associations=4)), clock) for _ in range(3)]
        for run in runs:
            stack.callback(run.end)
        for _ in range(300):
            for run in runs:
                run.rounds(1)
        assert max(run.access.allowed for run in runs) == 4
        assert sum(len(run.held) for run in runs) == 4
        assert pacs.peak == 4


def test_over_dicom_a_slow_archive_is_left_alone_and_asked_again(tmp_path: Path) -> None:
    """Real C-FINDs in real time: only what differs by a factor of a hundred is judged."""
    slow = threading.Event()

    def script(talk: Talk) -> None:
        time.sleep(0.25 if slow.is_set() else 0.0)
        answer = Dataset()
        answer.QueryRetrieveLevel = "IMAGE"
        answer.StudyInstanceUID, answer.SeriesInstanceUID = "1.2", "1.2.3"
        answer.SOPInstanceUID, answer.SOPClassUID = "1.2.3.4", "1.2.840.10008.5.1.4.1.1.2"
        talk.answer(0xFF00, answer)
        talk.answer(0x0000)

    series = SeriesRef("1.2", "1.2.3", "CT", 1)
    subject = Access.of(site(slow_factor=20), tmp_path, sleep=lambda seconds: None)

    def ask(client: PacsClient, times: int) -> None:
        for _ in range(times):
            subject.require_open()
            begin = time.monotonic()
            client.find_instances(series)
            subject.observe("find", time.monotonic() - begin)

    with scripted(find=script) as endpoint, PacsClient(endpoint) as client, subject.association():
        ask(client, 30)
        assert subject.pause == 0
        slow.set()
        ask(client, 8)
        assert (subject.allowed, subject.pause > 0) == (1, True)
        slow.clear()
        ask(client, 60)
        assert subject.pause == 0
