"""What schemathesis must be told to speak to the push API; loaded by its command line (SCHEMATHESIS_HOOKS)."""

import json
from collections.abc import Mapping
from typing import Any

import schemathesis
from schemathesis import SerializationContext


@schemathesis.serializer("application/x-ndjson")
def lines(ctx: SerializationContext, value: Any) -> bytes:
    """Send text as it is; it knows no media type of lines."""
    return value if isinstance(value, bytes) else _text(value).encode("utf-8", "replace")


@schemathesis.serializer("application/x-www-form-urlencoded")
def form(ctx: SerializationContext, value: Any) -> Any:
    """Send `items` as JSON text, as the `encoding` of the form says; it repeats the field for each item otherwise."""
    if isinstance(value, Mapping) and "items" in value:
        return {**value, "items": json.dumps(value["items"])}
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
