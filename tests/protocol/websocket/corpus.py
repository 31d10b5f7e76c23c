"""The cases of tests/data/http, whose README explains their format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "data" / "http"

_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|\{(\d+)\*([^}]*)\}|(.))")
_SINGLE = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


@dataclass(frozen=True)
class Case:
    """One raw request and what is expected of it."""

    name: str
    expect: dict[str, str]
    raw: bytes


def unescape(text: str) -> bytes:
    """The bytes that the text spells."""

    def replace(match: re.Match[str]) -> str:
        byte, count, repeated, single = match.groups()
        if byte is not None:
            return chr(int(byte, 16))
        if count is not None:
            return _ESCAPE.sub(replace, repeated) * int(count)
        return _SINGLE[single]

    return _ESCAPE.sub(replace, text).encode("latin-1")


def load(path: Path) -> Case:
    """The case in one file."""
    above, _, below = path.read_text(encoding="utf-8").partition("---\n")
    lines = (line for line in above.splitlines() if not line.startswith("#"))
    pairs = (line.partition(":") for line in lines)
    expect = {key: value.strip() for key, _, value in pairs}
    return Case(path.stem, expect, unescape(below.replace("\n", "")))


CASES = tuple(load(path) for path in sorted(FOLDER.glob("*.http")))
