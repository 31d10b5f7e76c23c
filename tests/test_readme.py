"""The README says what the code does: settings, limits, files."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.settings import GatewaySettings
from logic.settings import LogicSettings
from protocol import limits
from runtime.settings import ProcessSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
ROW = re.compile(r"^\| `([A-Z_0-9]+)` \| (.*?) \| (.*?) \|$", re.MULTILINE)


def documented(heading: str) -> dict[str, tuple[str, str]]:
    """Return the rows of the first table after a line that starts with `heading`: name to default and meaning."""
    _, found, rest = README.partition(f"\n{heading}")
    assert found, heading
    table = rest.split("|", 1)[1].split("\n\n", 1)[0]
    return {name: (default, meaning) for name, default, meaning in ROW.findall("|" + table)}


def shown(field: FieldInfo) -> str:
    """Return a field's default as the README writes it."""
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if field.is_required():
        return "required"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float) and value.is_integer():
        return f"`{int(value)}`"
    if isinstance(value, tuple):
        return f"`{','.join(str(item) for item in value)}`" if value else ""
    return f"`{value}`" if value not in (None, "") else ""


def rows(fields: Mapping[str, FieldInfo], prefix: str, skip: Iterable[str] = ()) -> dict[str, tuple[str, str]]:
    """Return the rows that a settings class should have."""
    kept = {name: field for name, field in fields.items() if name not in skip}
    return {f"{prefix}{name.upper()}": (shown(field), str(field.description)) for name, field in kept.items()}


COMMON = ProcessSettings.model_fields
TIERS: list[tuple[str, type[ProcessSettings], str]] = [
    ("Gateway:", GatewaySettings, "GATEWAY_"),
    ("Logic:", LogicSettings, "LOGIC_"),
]


@pytest.mark.parametrize(("heading", "settings", "prefix"), TIERS)
def test_every_setting_is_documented(heading: str, settings: type[ProcessSettings], prefix: str) -> None:
    """Each setting of a tier is in the table with its default and the words of --help, and nothing else is."""
    fields = settings.model_fields
    same = {name for name in COMMON if shown(fields[name]) == shown(COMMON[name])}
    assert documented(heading) == rows(fields, prefix, skip=same)


def test_common_settings_are_documented() -> None:
    """What both tiers have is in the first table, unless each has a default of its own."""
    own = {
        name for name in COMMON if all(shown(COMMON[name]) != shown(tier.model_fields[name]) for _, tier, _ in TIERS)
    }
    assert documented("Both tiers:") == rows(COMMON, "", skip=own)


def test_every_limit_is_documented() -> None:
    """Each limit of the wire is in the table with its value."""
    values = {name: f"{value:,}" for name, value in vars(limits).items() if name.isupper()}
    table = {name: value.strip("`") for name, (value, _) in documented("## Limits").items()}
    assert table == {name: value.removesuffix(".0") for name, value in values.items()}


def test_every_link_leads_to_a_file() -> None:
    """No link of the README points to a file that is not there."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) > 20
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []
