"""``pacs-pipeline profile``: what a de-identification profile does, and in what two of them differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pacs_pipeline.cli import terminal

if TYPE_CHECKING:
    from pacs_pipeline.deidentify import Profile

app = typer.Typer(help="What a de-identification profile does to every attribute.", no_args_is_help=True)

Options = Annotated[list[str] | None, typer.Option("--option", help="a further option of PS3.15 E.3; may be repeated")]
Extra = Annotated[Path | None, typer.Option("--extra-recipe", help="a project's own recipe, layered on top")]
SopClass = Annotated[
    str, typer.Option("--sop-class", help="decide what depends on the attribute's type, for this SOP Class UID")
]


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="the profile")],
    option: Options = None,
    extra_recipe: Extra = None,
    sop_class: SopClass = "",
) -> None:
    """Print the effective recipe, one line for each field, in the language of deid."""
    from pacs_pipeline.deidentify.profile import OPTIONS
    from pacs_pipeline.deidentify.recipe import effective_text
    from pacs_pipeline.deidentify.vocabulary import CODE_MEANINGS

    profile = _load(name, option, extra_recipe)
    lines = [f"# profile {profile.name}, fingerprint {profile.fingerprint}"]
    lines += [f"# {CODE_MEANINGS[profile.codes[0]]} ({profile.codes[0]})"]
    lines += [
        f"# {chosen}: {CODE_MEANINGS[OPTIONS[chosen].code]} ({OPTIONS[chosen].code})" for chosen in profile.options
    ]
    rules = profile.rules_for(sop_class) if sop_class else profile.rules
    typer.echo("\n".join([*lines, "", effective_text(rules)]), nl=False)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="a profile")],
    second: Annotated[str, typer.Argument(help="another one")],
    option: Annotated[list[str] | None, typer.Option("--option", help="a further option of the second")] = None,
    extra_recipe: Annotated[Path | None, typer.Option("--extra-recipe", help="a recipe on top of the second")] = None,
) -> None:
    """List the fields that two profiles treat differently; exit code 1 when there are any."""
    from pacs_pipeline.deidentify.recipe import described

    one, two = _load(first, None, None), _load(second, option, extra_recipe)
    before, after = (dict(zip(profile.fields, profile.rules, strict=True)) for profile in (one, two))
    rows = []
    for means in dict.fromkeys((*before, *after)):
        old, new = before.get(means), after.get(means)
        if old is None or new is None or old.action is not new.action or old.value != new.value:
            shown = new or old
            name = described(shown.field) if shown is not None else ""
            rows.append((name, "no rule" if old is None else old.verb, "no rule" if new is None else new.verb))
    for added in (set(one.options) ^ set(two.options)) - {""}:
        rows.append(
            (f"option {added}", "yes" if added in one.options else "no", "yes" if added in two.options else "no")
        )
    if not rows:
        terminal.console.print(f"{escape(first)} and {escape(second)} treat every field alike")
        return
    terminal.console.print(terminal.rows_table(("field", first, second), sorted(rows)))
    raise typer.Exit(1)


@app.command()
def fingerprint(
    name: Annotated[str, typer.Argument(help="the profile")], option: Options = None, extra_recipe: Extra = None
) -> None:
    """Print the fingerprint that is stored with every instance the profile has made."""
    typer.echo(_load(name, option, extra_recipe).fingerprint)


def _load(name: str, options: list[str] | None, extra_recipe: Path | None) -> Profile:
    from pacs_pipeline.deidentify import load_profile

    return load_profile(name, extra_recipe, options=tuple(options or ()))
