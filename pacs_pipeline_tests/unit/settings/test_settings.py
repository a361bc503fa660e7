"""Settings: what is right loads, what is wrong gives one message that names the key and the fix."""

from pathlib import Path

import pytest

from pacs_pipeline.errors import SettingsError
from pacs_pipeline.settings import Settings, load_settings, settings_from_text

ROOT = Path(__file__).parents[3]

GOOD = """
project: cohort
sites:
  - name: north
    timezone: Europe/Berlin
    start_date: 2024-01-01
    pacs: {host: pacs, port: 104, ae_title: NORTH}
  - name: south
    timezone: America/New_York
    start_date: 2024-01-01
    protocol: c-move
    pacs: {host: pacs, port: 105, ae_title: SOUTH}
    receiver: {ae_title: US, port: 11113}
bucket: {name: cohort}
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET", "SECRET_FILE", "CONFIG", "BUCKET__NAME"):
        monkeypatch.delenv(f"PACS_PIPELINE_{name}", raising=False)


def load(text: str) -> Settings:
    return settings_from_text(text, Path("/etc/pp/pacs_pipeline.yaml"))


def test_paths_are_relative_to_the_file() -> None:
    assert load(GOOD).zones.root == Path("/etc/pp/data/zones")


def test_the_example_is_valid() -> None:
    settings = load_settings(ROOT / "pacs_pipeline.example.yaml")
    assert [site.name for site in settings.sites] == ["north", "south"]


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_PIPELINE_BUCKET__NAME", "from-environment")
    assert load(GOOD).bucket.name == "from-environment"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("timezone: Europe/Berlin", "timezone: Europe/Berln", ["sites[0].timezone", "Europe/Berln"]),
        ("timezone: Europe/Berlin", "timezome: Europe/Berlin", ["sites[0].timezome", "did you mean 'timezone'"]),
        ("bucket:", "buckets:", ["unknown key 'buckets'", "did you mean 'bucket'", "key 'bucket' is missing"]),
        ("name: south", "name: north", ["north", "twice"]),
        ("name: north", "name: North!", ["sites[0].name"]),
        ("port: 104", "port: 104000", ["sites[0].pacs.port"]),
        ("port: 104", "port: eleven", ["sites[0].pacs.port"]),
        ("ae_title: NORTH", "ae_title: MUCH_TOO_LONG_AE_TITLE", ["sites[0].pacs.ae_title"]),
        ("    receiver: {ae_title: US, port: 11113}\n", "", ["sites[1]", "receiver"]),
        ("start_date: 2024-01-01", "start_date: 2024-13-01", ["sites[0].start_date"]),
        ("bucket: {name: cohort}", "bucket: {name: Not_A_Bucket}", ["bucket.name"]),
        ("project: cohort", "project: cohort\nproject: other", ["stands twice", "line 3"]),
        ("project: cohort", "project: [", ["not valid YAML"]),
        (
            "project: cohort",
            "project: cohort\nsecret: abc",
            ["'secret' must not be in the file", "PACS_PIPELINE_SECRET"],
        ),
    ],
)
def test_a_mistake_gets_one_message_that_names_it(old: str, new: str, named: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(SettingsError) as caught:
        load(GOOD.replace(old, new, 1))
    message = str(caught.value)
    assert "\n" not in message
    assert all(name in message for name in named), message


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="pacs_pipeline.example.yaml"):
        load_settings(tmp_path / "nothing.yaml")


def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_PIPELINE_SECRET_FIEL", "x")
    with pytest.raises(SettingsError, match="PACS_PIPELINE_SECRET_FILE"):
        load(GOOD)


def test_the_secret_comes_from_a_file_or_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("f" * 64 + "\n")
    monkeypatch.setenv("PACS_PIPELINE_SECRET_FILE", str(file))
    assert load(GOOD).project_secret() == b"f" * 64
    monkeypatch.setenv("PACS_PIPELINE_SECRET", "e" * 32)
    assert load(GOOD).project_secret() == b"e" * 32


def test_the_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_PIPELINE_SECRET", "e" * 32)
    assert "eeee" not in repr(load(GOOD))


@pytest.mark.parametrize("secret", [None, "short"])
def test_no_secret_no_start(monkeypatch: pytest.MonkeyPatch, secret: str | None) -> None:
    if secret:
        monkeypatch.setenv("PACS_PIPELINE_SECRET", secret)
    with pytest.raises(SettingsError, match="secret"):
        load(GOOD).project_secret()


def test_an_unreadable_secret_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PACS_PIPELINE_SECRET_FILE", str(tmp_path / "nothing"))
    with pytest.raises(SettingsError, match="nothing"):
        load(GOOD).project_secret()


def test_an_unknown_site_lists_those_there_are() -> None:
    with pytest.raises(SettingsError, match="north, south"):
        load(GOOD).site("west")
