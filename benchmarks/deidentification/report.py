"""Shows scores as tables, as lines a script can read, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.table import Table

from benchmarks.deidentification.answers import PROTECTIVE, Answer
from benchmarks.deidentification.peers import PROJECT
from benchmarks.deidentification.score import Result, Score, Verdict

_MOST = 400


def _table(
    title: str, scores: Mapping[str, Score], key: Callable[[Answer], str], *, protective: bool, first: str
) -> Table:
    """Per row of ``key``: how many answers, and per tool how many failed and how many went with their instance."""
    table = Table(first, title=title, title_justify="left")
    table.add_column("planted" if protective else "expected", justify="right")
    for name in scores:
        table.add_column(name, justify="right")
    counts = {name: _chosen(score, protective).count(key) for name, score in scores.items()}
    rows = sorted({row for count in counts.values() for row in count})
    for row in rows:
        planted = max(count[row].total() for count in counts.values() if row in count)
        cells = []
        for count in counts.values():
            verdicts = count.get(row, {})
            failed, withheld = verdicts.get(Verdict.FAILED, 0), verdicts.get(Verdict.WITHHELD, 0)
            colour = "red" if failed else "green"
            cells.append(f"[{colour}]{failed}[/]" + (f" [dim]({withheld})[/]" if withheld else ""))
        table.add_row(row, str(planted), *cells)
    return table


def _chosen(score: Score, protective: bool) -> Score:
    return Score([r for r in score.results if (r.answer.action in PROTECTIVE) is protective])


def tables(scores: Mapping[str, Score]) -> list[Table]:
    """Leaks and losses by category, and both by action."""
    return [
        _table("leaked (withheld)", scores, lambda a: a.category, protective=True, first="identifiers"),
        _table("leaked (withheld)", scores, lambda a: a.action, protective=True, first="action"),
        _table("lost (withheld)", scores, lambda a: a.category, protective=False, first="useful content"),
        _table("lost (withheld)", scores, lambda a: a.action, protective=False, first="action"),
    ]


def failures(title: str, results: list[Result]) -> Table | None:
    """Every failure of the project with its attribute; equal ones once."""
    if not results:
        return None
    table = Table("category", "check", "attribute", "was", "is", "times", title=title, title_justify="left")
    seen: dict[tuple[str, ...], int] = {}
    for result in results:
        answer = result.answer
        row = (answer.category, str(answer.action), answer.place, answer.text[:40], result.found[:60])
        seen[row] = seen.get(row, 0) + 1
    for row, times in list(seen.items())[:_MOST]:
        table.add_row(*(cell.replace("[", "\\[") for cell in row), str(times))
    return table


def withheld(scores: Mapping[str, Score]) -> Table:
    """Why instances were withheld."""
    table = Table("tool", "withheld because", "instances", title="withheld", title_justify="left")
    for name, score in scores.items():
        for reason, times in score.reasons.most_common(12):
            table.add_row(name, reason.replace("[", "\\["), str(times))
    return table


def ratios(scores: Mapping[str, Score]) -> dict[str, float]:
    """The figures of the ``RATIO`` lines; those of the project have no suffix."""
    found = {}
    for name, score in scores.items():
        suffix = "" if name == PROJECT else "_" + "".join(c if c.isalnum() else "_" for c in name).replace("__", "_")
        found[f"leak_share{suffix}"] = score.share(protective=True)
        found[f"lost_share{suffix}"] = score.share(protective=False)
        found[f"lost_or_withheld_share{suffix}"] = score.share(protective=False, withheld_counts=True)
    return found


def as_json(scores: Mapping[str, Score]) -> dict[str, object]:
    """Per tool the verdicts by category and by action; of the project every failure."""
    shown: dict[str, object] = {}
    for name, score in scores.items():
        shown[name] = {
            "by_category": {key: dict(counts) for key, counts in score.count(lambda a: a.category).items()},
            "by_action": {key: dict(counts) for key, counts in score.count(lambda a: str(a.action)).items()},
            "withheld": dict(score.reasons.most_common(20)),
        }
    project = scores.get(PROJECT)
    if project is not None:
        shown["leaks of the project"] = [_line(result) for result in project.leaks]
        shown["losses of the project"] = sorted({_line(result) for result in project.losses})
    return shown


def _line(result: Result) -> str:
    answer = result.answer
    return f"{answer.instance}: {answer.action} {answer.place}: {answer.text!r} -> {result.found}"
