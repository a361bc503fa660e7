"""The recipe language of ``deid``, read strictly: what deid would skip with a warning is an error here.

deid's own parser (``DeidRecipe``) builds the actions; this module checks every line first, so that an
unknown keyword, section or function stops the load and names its line, then binds the actions to tags.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from pacs_pipeline.errors import SettingsError

_TAG = re.compile(r"\(([0-9A-Fa-f]{4}),\s?([0-9A-Fa-f]{4})\)|([0-9A-Fa-f]{8})")
_EXPANDERS = ("contains", "startswith", "endswith", "select")
_VALUE = re.compile(r"[\x20-\x7e]{0,64}")


class Action(StrEnum):
    """What happens to one element. The value is the letter used in the record of actions."""

    REMOVE = "X"
    BLANK = "Z"
    DUMMY = "D"
    UID = "U"
    PSEUDONYM = "P"
    SHIFT = "C"
    LITERAL = "L"
    KEEP = "K"
    CLEAN = "T"
    CONTENT = "S"
    # by the type of the attribute in the IOD (PS3.15 E.1): removed if type 3, else emptied or given a dummy
    REMOVE_OR_BLANK = "X/Z"
    REMOVE_OR_DUMMY = "X/D"
    BLANK_OR_DUMMY = "Z/D"
    REMOVE_BLANK_OR_DUMMY = "X/Z/D"


_BY_TYPE = {
    Action.REMOVE_OR_BLANK: {"1": Action.BLANK, "2": Action.BLANK, "3": Action.REMOVE, "": Action.BLANK},
    Action.REMOVE_OR_DUMMY: {"1": Action.DUMMY, "2": Action.DUMMY, "3": Action.REMOVE, "": Action.DUMMY},
    Action.BLANK_OR_DUMMY: {"1": Action.DUMMY, "2": Action.BLANK, "3": Action.BLANK, "": Action.DUMMY},
    Action.REMOVE_BLANK_OR_DUMMY: {"1": Action.DUMMY, "2": Action.BLANK, "3": Action.REMOVE, "": Action.DUMMY},
}


def resolved(action: Action, attribute_type: str) -> Action:
    """The action for an attribute of this type (PS3.15 E.1); of an unknown type, the one that any type allows."""
    choice = _BY_TYPE.get(action)
    return action if choice is None else choice[attribute_type]


_FUNCTIONS = {
    ("REPLACE", "func:clean_text"): Action.CLEAN,
    ("REPLACE", "func:clean_content"): Action.CONTENT,
    ("REPLACE", "func:remove_or_blank"): Action.REMOVE_OR_BLANK,
    ("REPLACE", "func:remove_or_dummy"): Action.REMOVE_OR_DUMMY,
    ("REPLACE", "func:blank_or_dummy"): Action.BLANK_OR_DUMMY,
    ("REPLACE", "func:remove_blank_or_dummy"): Action.REMOVE_BLANK_OR_DUMMY,
    ("REPLACE", "func:dummy"): Action.DUMMY,
    ("REPLACE", "func:uid"): Action.UID,
    ("REPLACE", "func:pseudonym"): Action.PSEUDONYM,
    ("JITTER", "func:date_shift"): Action.SHIFT,
}
_PLAIN = {"REMOVE": Action.REMOVE, "BLANK": Action.BLANK, "KEEP": Action.KEEP}


@dataclass(frozen=True, slots=True)
class Rule:
    """One action on one field; ``where`` names file and line for messages."""

    action: Action
    field: str
    value: str = ""
    where: str = ""
    fallback: Action = Action.REMOVE  # when a SHIFT meets what is no date, or a CLEAN leaves nothing

    @property
    def line(self) -> str:
        """The rule in deid's language."""
        verb, _, value = self.verb.partition(" ")
        return f"{verb} {self.field} {value}".rstrip()

    @property
    def verb(self) -> str:
        """The rule without its field."""
        for (verb, function), action in _FUNCTIONS.items():
            if action is self.action:
                return f"{verb} {function}"
        if self.action is Action.LITERAL:
            return f"REPLACE {self.value}"
        return next(verb for verb, action in _PLAIN.items() if action is self.action)


@dataclass(frozen=True, slots=True)
class Fields:
    """Which tags a field expression means: exactly one ``tag``, or those whose names ``pattern`` finds."""

    tag: int | None = None
    pattern: str = ""
    vr: str = ""
    group: int | None = None

    def matches(self, tag: int, vr: str) -> bool:
        """Whether the element (``tag``, ``vr``) is meant, by deid's rules for expanders."""
        if self.tag is not None:
            return tag == self.tag
        if self.vr:
            return vr == self.vr
        if self.group is not None:
            return tag >> 16 == self.group
        search = re.compile(self.pattern, re.IGNORECASE).search
        names = (f"({tag >> 16:04x},{tag & 0xFFFF:04x})", f"{tag:08x}", keyword_for_tag(tag))
        return any(search(name) for name in names)


def read_recipe(path: Path) -> tuple[Rule, ...]:
    """The rules of one recipe file, in order.

    Raises SettingsError, naming the line, for everything the engine would not execute.
    """
    try:
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError as error:
        raise SettingsError(f"the recipe {path} is not plain ASCII", fix="remove other characters from it") from error
    except OSError as error:
        raise SettingsError(
            f"the recipe {path} cannot be read ({error.strerror})", fix="correct deidentify.extra_recipe"
        ) from error
    numbers = list(_check_lines(text, path))
    actions = _parsed_by_deid(text)
    if len(actions) != len(numbers):
        raise SettingsError(
            f"deid reads {len(actions)} actions from {path} where {len(numbers)} are written",
            fix="write one action per line: ACTION FIELD [VALUE]",
        )
    rules = []
    for number, action in zip(numbers, actions, strict=True):
        rules.append(_rule(action, f"{path.name}, line {number}"))
    return tuple(rules)


def fields_of(rule: Rule) -> Fields:
    """What ``rule.field`` means; raises SettingsError when it means nothing."""
    field = rule.field
    match = _TAG.fullmatch(field)
    if match:
        return Fields(tag=int((match[1] or "") + (match[2] or "") + (match[3] or ""), 16))
    name, colon, expression = field.partition(":")
    if colon:
        return _expanded(name.lower(), expression, rule.where)
    tag = tag_for_keyword(field)
    if tag is None:
        raise SettingsError(
            f"{rule.where}: '{field}' is no DICOM keyword or tag", fix="write a keyword, (gggg,eeee) or an expander"
        )
    return Fields(tag=tag)


def described(field: str) -> str:
    """A field expression for people: the keyword of a single tag, anything else as it is written."""
    match = _TAG.fullmatch(field)
    if match is None:
        return field
    keyword = keyword_for_tag(int((match[1] or "") + (match[2] or "") + (match[3] or ""), 16))
    return f"{keyword} {field}" if keyword else field


def _expanded(name: str, expression: str, where: str) -> Fields:
    if name not in _EXPANDERS or not expression:
        raise SettingsError(
            f"{where}: the field expander '{name}:' is not supported", fix=f"use one of: {', '.join(_EXPANDERS)}"
        )
    if name == "select":
        kind, _, wanted = expression.partition(":")
        if kind.upper() == "VR" and re.fullmatch("[A-Za-z]{2}", wanted):
            return Fields(vr=wanted.upper())
        if kind.upper() == "GROUP" and re.fullmatch("(0x)?[0-9A-Fa-f]{1,4}", wanted):
            return Fields(group=int(wanted, 16))
        raise SettingsError(f"{where}: 'select:' needs VR:XX or GROUP:gggg", fix="mend that line")
    pattern = {"startswith": f"^({expression})", "endswith": f"({expression})$"}.get(name, expression)
    try:
        re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"{where}: the expression of '{name}:' is not valid ({error})", fix="mend it") from error
    return Fields(pattern=pattern)


def _check_lines(text: str, path: Path) -> Iterator[int]:
    """Line numbers of the actions; raises SettingsError at the first line that is not understood."""
    formatted = False
    section = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        where = f"{path.name}, line {number}"
        word = line.split(" ", 1)[0]
        if not line or line.startswith("#"):
            continue
        if word == "FORMAT":
            formatted = _known(line == "FORMAT dicom", f"{where}: only 'FORMAT dicom' is known")
        elif word.startswith("%"):
            section = line
            _known(section == "%header", f"{where}: only the section %header is executed, not '{word}'")
        else:
            _known(formatted and section == "%header", f"{where}: stands outside 'FORMAT dicom' and '%header'")
            known = {*_PLAIN, "REPLACE", "JITTER"}
            _known(word in known, f"{where}: '{word}' is no action; known are {', '.join(sorted(known))}")
            yield number


def _known(condition: bool, message: str) -> bool:
    if not condition:
        raise SettingsError(message, fix="correct or remove the line; nothing is skipped in silence")
    return True


def _rule(action: dict[str, str], where: str) -> Rule:
    verb, field, value = action["action"], action["field"], action.get("value", "").strip()
    if verb in _PLAIN:
        _known(not value, f"{where}: {verb} takes no value here")
        return Rule(_PLAIN[verb], field, where=where)
    bound = _FUNCTIONS.get((verb, value))
    if bound is not None:
        return Rule(bound, field, where=where)
    if verb == "REPLACE" and not re.match(r"\w+:", value):
        _known(bool(value) and _VALUE.fullmatch(value) is not None and "\\" not in value, f"{where}: bad value")
        return Rule(Action.LITERAL, field, value=value, where=where)
    raise SettingsError(
        f"{where}: {verb} does not know '{value}'",
        fix="known are " + ", ".join(" … ".join(pair) for pair in _FUNCTIONS),
    )


def _parsed_by_deid(text: str) -> list[dict[str, str]]:
    """The actions as deid's own parser understands them."""
    from deid.config import DeidRecipe

    with tempfile.NamedTemporaryFile("w", suffix=".deid", encoding="ascii") as copy, _quiet():
        copy.write(text)
        copy.flush()
        actions: list[dict[str, str]] = DeidRecipe([copy.name]).get_actions()
    return actions


@contextmanager
def _quiet() -> Iterator[None]:
    """deid reports every parsed line on stderr unless its logger is told not to."""
    from deid.logger import bot

    level, bot.level = bot.level, 0
    try:
        yield
    finally:
        bot.level = level
        bot.history.clear()


def strength(action: Action) -> int:
    """How much an action takes away; a project's recipe may raise it for a field, never lower it."""
    return _STRENGTH[action]


_STRENGTH = {
    Action.KEEP: 0,
    Action.SHIFT: 1,
    Action.CLEAN: 1,
    Action.CONTENT: 1,
    Action.UID: 2,
    Action.PSEUDONYM: 2,
    Action.DUMMY: 3,
    Action.LITERAL: 3,
    Action.BLANK: 3,
    Action.REMOVE_OR_BLANK: 3,
    Action.REMOVE_OR_DUMMY: 3,
    Action.BLANK_OR_DUMMY: 3,
    Action.REMOVE_BLANK_OR_DUMMY: 3,
    Action.REMOVE: 4,
}


def effective_text(rules: Iterable[Rule]) -> str:
    """``rules`` as one recipe in deid's language."""
    return "\n".join(["FORMAT dicom", "", "%header", "", *(rule.line for rule in rules)]) + "\n"
