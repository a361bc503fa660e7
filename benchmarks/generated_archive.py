"""An archive without files: a Query SCP that makes up its answers, on plain sockets so that it costs little.

``python -m benchmarks.generated_archive STUDIES DAYS LIMIT`` prints its port, serves until its standard input ends, and
then prints how often each level was asked. Every weekday has three times the studies of a day at the weekend, one study
of each day has no StudyTime, and each study has one to three series. LIMIT 0 gives everything; any other number cuts
answers off there and says Success, as the worst archives do.
"""

from __future__ import annotations

import datetime as dt
import json
import socket
import struct
import sys
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import accumulate, islice

FIRST_DAY = dt.date(2014, 1, 1)
AE_TITLE = "GENERATED"
_ROOT = "1.2.826.0.1.3680043.10.1451.77"
_MODALITIES = ("CT", "CR", "MR", "US", "CR", "DX", "MG", "XA", "NM", "PT")
_WEEKDAY, _WEEKEND = 3, 1
_EXPLICIT = b"1.2.840.10008.1.2.1"
_VRS = {
    "StudyDate": (0x0008, 0x0020, b"DA"),
    "StudyTime": (0x0008, 0x0030, b"TM"),
    "Modality": (0x0008, 0x0060, b"CS"),
    "ModalitiesInStudy": (0x0008, 0x0061, b"CS"),
    "StudyInstanceUID": (0x0020, 0x000D, b"UI"),
    "SeriesInstanceUID": (0x0020, 0x000E, b"UI"),
    "NumberOfStudyRelatedInstances": (0x0020, 0x1208, b"IS"),
    "NumberOfSeriesRelatedInstances": (0x0020, 0x1209, b"IS"),
}
_LEVEL = (0x0008, 0x0052)
_KEYWORDS = {(group, element): keyword for keyword, (group, element, _) in _VRS.items()}


class Population:
    """Which studies there are on which day; the same numbers give the same studies."""

    def __init__(self, studies: int, days: int) -> None:
        self.days = [FIRST_DAY + dt.timedelta(days=n) for n in range(days)]
        weights = list(accumulate(_WEEKEND if day.weekday() >= 5 else _WEEKDAY for day in self.days))
        self._before = [0, *(studies * weight // weights[-1] for weight in weights)]

    @property
    def studies(self) -> int:
        return self._before[-1]

    @property
    def series(self) -> int:
        return sum(number % 3 + 1 for number in range(self.studies))

    @property
    def instances(self) -> int:
        return sum(sum(instances_of(number)) for number in range(self.studies))

    def of_day(self, day: dt.date) -> range:
        """The numbers of the studies of a day."""
        at = (day - FIRST_DAY).days
        return range(self._before[at], self._before[at + 1]) if 0 <= at < len(self.days) else range(0)

    def describe(self, number: int) -> dict[str, str]:
        """A study as an answer gives it."""
        day = bisect_right(self._before, number) - 1
        position, count = number - self._before[day], self._before[day + 1] - self._before[day]
        second = position * 86399 // max(count - 1, 1)
        time = f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}" if position != count // 2 else ""
        return {
            "StudyDate": f"{self.days[day]:%Y%m%d}",
            "StudyTime": time,
            "ModalitiesInStudy": _MODALITIES[number % len(_MODALITIES)],
            "StudyInstanceUID": f"{_ROOT}.{number}",
            "NumberOfStudyRelatedInstances": str(sum(instances_of(number))),
        }


def instances_of(number: int) -> tuple[int, ...]:
    """How many instances each series of a study has."""
    return tuple(number % 97 + 1 + series for series in range(number % 3 + 1))


class GeneratedArchive:
    """Answers C-ECHO and C-FIND at STUDY and SERIES level; one thread for each association."""

    def __init__(self, population: Population, limit: int) -> None:
        self._population = population
        self._limit = limit
        self._day = lru_cache(maxsize=4)(self._describe_day)
        self.asked: Counter[str] = Counter()
        self.days: set[str] = set()

    def serve(self, server: socket.socket) -> None:
        """Accept associations until the socket is closed."""
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            command: dict[int, bytes] = {}
            held = {True: bytearray(), False: bytearray()}
            while head := stream.read(6):
                kind, length = head[0], struct.unpack(">I", head[2:])[0]
                content = stream.read(length)
                if kind == 0x01:
                    connection.sendall(_accepted(content))
                elif kind == 0x05:
                    connection.sendall(b"\x06\0\0\0\0\x04\0\0\0\0")
                elif kind != 0x04:
                    return
                for context, control, fragment in _values(content) if kind == 0x04 else ():
                    is_command = bool(control & 1)
                    held[is_command] += fragment
                    if not control & 2:
                        continue
                    whole = bytes(held[is_command])
                    held[is_command].clear()
                    if is_command:
                        command = dict(_command(whole))
                    if not is_command or command[0x0800] == b"\x01\x01":
                        connection.sendall(self._answers(context, command, b"" if is_command else whole))

    def _answers(self, context: int, command: Mapping[int, bytes], identifier: bytes) -> bytes:
        message, service = command[0x0110], command[0x0002]
        if command[0x0100] == b"\x30\x00":
            return _message(context, service, 0x8030, message, 0x0000)
        entries = list(islice(self._find(dict(_elements(identifier))), self._limit or None))
        pending = b"".join(_message(context, service, 0x8020, message, 0xFF00, _encoded(entry)) for entry in entries)
        return pending + _message(context, service, 0x8020, message, 0x0000)

    def _find(self, keys: Mapping[str, str]) -> Iterator[dict[str, str]]:
        self.asked[keys["level"]] += 1
        if keys["level"] == "SERIES":
            study = keys["StudyInstanceUID"]
            number = int(study.rpartition(".")[2])
            for at, count in enumerate(instances_of(number), 1):
                yield {
                    "Modality": _MODALITIES[number % len(_MODALITIES)],
                    "StudyInstanceUID": study,
                    "SeriesInstanceUID": f"{study}.{at}",
                    "NumberOfSeriesRelatedInstances": str(count),
                }
            return
        start, dash, end = keys["StudyTime"].partition("-")
        if not dash and not keys["ModalitiesInStudy"]:
            self.asked["days"] += 1
        for study in self._day(keys["StudyDate"]):
            time, modality = study["StudyTime"], study["ModalitiesInStudy"]
            if dash and not (time and start <= time and (not end or time <= end)):
                continue
            if keys["ModalitiesInStudy"] in ("", modality):
                yield study

    def _describe_day(self, day: str) -> list[dict[str, str]]:
        numbers = self._population.of_day(dt.datetime.strptime(day, "%Y%m%d").date())
        return [self._population.describe(number) for number in numbers]


def _values(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The presentation data values of a P-DATA PDU: context, control header, fragment (PS3.8 9.3.5.1)."""
    while content:
        length = struct.unpack(">I", content[:4])[0]
        yield content[4], content[5], content[6 : 4 + length]
        content = content[4 + length :]


def _command(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    while encoded:
        _, element, length = struct.unpack("<HHI", encoded[:8])
        yield element, encoded[8 : 8 + length]
        encoded = encoded[8 + length :]


def _elements(encoded: bytes) -> Iterator[tuple[str, str]]:
    """The keys of an identifier in explicit VR, of which all have short VRs."""
    at = 0
    while at < len(encoded):
        group, element, _, length = struct.unpack_from("<HH2sH", encoded, at)
        value = encoded[at + 8 : at + 8 + length].decode("ascii").strip(" \0")
        yield _KEYWORDS.get((group, element), "level" if (group, element) == _LEVEL else ""), value
        at += 8 + length


def _encoded(entry: Mapping[str, str]) -> bytes:
    parts = []
    for keyword, (group, element, vr) in _VRS.items():
        if keyword in entry:
            value = entry[keyword].encode("ascii")
            value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
            parts.append(struct.pack("<HH2sH", group, element, vr, len(value)) + value)
    return b"".join(parts)


def _message(context: int, service: bytes, field: int, to: bytes, status: int, data: bytes = b"") -> bytes:
    elements = struct.pack("<HHI", 0, 0x0002, len(service)) + service
    for element, value in ((0x0100, field), (0x0120, *struct.unpack("<H", to)), (0x0800, 0x0001 if data else 0x0101)):
        elements += struct.pack("<HHIH", 0, element, 2, value)
    elements += struct.pack("<HHIH", 0, 0x0900, 2, status)
    command = struct.pack("<HHII", 0, 0, 4, len(elements)) + elements
    return _pdu(context, 0x03, command) + (_pdu(context, 0x02, data) if data else b"")


def _pdu(context: int, control: int, content: bytes) -> bytes:
    return struct.pack(">BxIIBB", 0x04, len(content) + 6, len(content) + 2, context, control) + content


def _accepted(request: bytes) -> bytes:
    """An A-ASSOCIATE-AC that takes every context in explicit VR little endian (PS3.8 9.3.3)."""
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    at = 68
    while at < len(request):
        kind, length = struct.unpack_from(">BxH", request, at)
        if kind == 0x20:
            items += _item(0x21, request[at + 4 : at + 5] + b"\0\0\0" + _item(0x40, _EXPLICIT))
        at += 4 + length
    items += _item(0x50, _item(0x51, struct.pack(">I", 1 << 17)) + _item(0x52, b"1.2.826.0.1.3680043.10.1451"))
    return struct.pack(">BxI", 0x02, 68 + len(items)) + request[:68] + items


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def main() -> None:
    """Serve until the standard input ends."""
    studies, days, limit = (int(argument) for argument in sys.argv[1:4])
    archive = GeneratedArchive(Population(studies, days), limit)
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        threading.Thread(target=archive.serve, args=(server,), daemon=True).start()
        sys.stdin.read()
    print(json.dumps(archive.asked), flush=True)


if __name__ == "__main__":
    main()
