"""``make score``: plants, runs the project and its peers, scores. Exit code 1 when the project leaks anything."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from benchmarks.deidentification import expectations, midi_b, peers, report
from benchmarks.deidentification.plant import SEED, Key, generate
from benchmarks.deidentification.score import Score, score

_RESULTS = Path(__file__).resolve().parents[1] / "results" / "deidentification.json"


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deidentification", description=__doc__)
    parser.add_argument("--profile", help="the project's profile (default: the richest one it has)")
    parser.add_argument("--project-only", action="store_true", help="no peers: for CI")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed plants other names at the same places")
    parser.add_argument("--answers", type=Path, metavar="FILE.db", help="a MIDI-B answer database instead of planting")
    parser.add_argument("--input", type=Path, metavar="DIR", help="the MIDI-B images the answers are of")
    parser.add_argument("--peer", action="append", metavar="NAME", help="only this peer; may be given more than once")
    parser.add_argument("--out", type=Path, help="keep the result there (default: only a full run is kept)")
    given = parser.parse_args(arguments)
    if (given.answers is None) is not (given.input is None):
        parser.error("--answers and --input belong together")
    profile = given.profile or peers.default_profile()
    if given.answers is None and profile not in expectations.OPTIONS:
        parser.error(f"what to expect of '{profile}' is not known; use one of {', '.join(expectations.OPTIONS)}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    with tempfile.TemporaryDirectory(prefix="score-") as folder:
        work = Path(folder)
        key = (
            midi_b.read_key(given.answers, given.input) if given.answers else generate(work / "in", profile, given.seed)
        )
        console.print(f"{len(key.patients):,} instances, {len(key.answers):,} answers, profile {profile}")
        scores, notes = _run(console, key, profile, work, given)
    for table in (*report.tables(scores), report.withheld(scores)):
        console.print(table)
    project = scores[peers.PROJECT]
    for title, results in (("leaks of the project", project.leaks), ("lost by the project", project.losses)):
        table = report.failures(title, results)
        if table is not None:
            console.print(table)
    for note in notes:
        console.print(note)
    ratios = report.ratios(scores)
    full = not given.project_only and not given.peer and given.answers is None
    out = given.out or (_RESULTS if full else None)
    if out is not None:
        result = {
            "benchmark": "deidentification",
            "taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "profile": profile,
            "seed": given.seed,
            "instances": len(key.patients),
            "answers": len(key.answers),
            "versions": {"pydicom": version("pydicom")} | {p.name: p.version() for p in peers.PEERS if not p.missing()},
            "notes": notes,
            "ratios": ratios,
        } | report.as_json(scores)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, value in ratios.items():
        print(f"RATIO {name} {value:.6g}" if value else f"RATIO {name} 0.0")
    return 1 if project.leaks else 0


def _run(
    console: Console, key: Key, profile: str, work: Path, given: argparse.Namespace
) -> tuple[dict[str, Score], list[str]]:
    """The scores by tool, and what has to be said about tools that are not there."""
    out = work / "project"
    out.mkdir(parents=True)
    outputs = peers.run_project(profile, key.files, out)
    scores = {peers.PROJECT: score(key.answers, key.files, outputs, out, key.patients)}
    notes = []
    for peer in () if given.project_only else peers.PEERS:
        if given.peer and peer.name not in given.peer:
            continue
        missing = peer.missing()
        if missing:
            notes.append(f"{peer.name}: {missing}")
            continue
        with console.status(f"{peer.name} {peer.version()}"):
            folder = work / f"peer-{len(scores)}"
            outputs = peers.run_peer(peer, profile, key.files, folder)
            scores[peer.name] = score(key.answers, key.files, outputs, folder, key.patients)
    return scores, notes


if __name__ == "__main__":
    sys.exit(main())
