"""The contract: complete, readable as OpenAPI 3.0 too, and kept by the live server."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from logic.api.app import make_api
from logic.api.keys import ApiKey
from logic.api.metrics import ApiMetrics
from logic.api.openapi import make_document
from logic.api.options import ApiOptions
from protocol.codes import ERRORS
from tests.logic.api.conftest import KEY, Api
from tests.logic.api.memory import MemoryOverview, MemoryPublishing
from tests.logic.api.test_bad_input import TABLE

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
DOCUMENT = make_document("1")
ONLY_IN_31 = {
    "const",
    "if",
    "then",
    "else",
    "prefixItems",
    "contains",
    "patternProperties",
    "$defs",
    "contentMediaType",
}


def test_every_call_is_in_the_contract() -> None:
    """Each route of the application is described, and nothing else; the page and its parts are no part of it."""
    app = make_api(
        MemoryPublishing(),
        MemoryOverview(),
        keys=[ApiKey.of("a", KEY)],
        options=ApiOptions(),
        metrics=ApiMetrics(CollectorRegistry()),
    )
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource and not route.resource.canonical.startswith("/docs")
    }
    described = {(method.upper(), path) for path, calls in DOCUMENT["paths"].items() for method in calls}
    assert routes == described


def test_every_refusal_is_in_the_contract() -> None:
    """Each status of the table of bad input is described for its call, with its code; so is 500 for all."""
    checked = 0
    for bad in TABLE:
        operation = _operation(bad.method.lower(), bad.path.partition("?")[0])
        if operation is not None:
            checked += 1
            response = operation["responses"][str(bad.status)]
            assert bad.code in response["content"]["application/problem+json"]["examples"], bad.name
            assert "500" in operation["responses"]
    assert checked > 40


def test_problem_responses_hold_what_their_status_promises() -> None:
    """Each described problem has a code of its status, X-Request-Id, and 401, 429 and 503 their own header."""
    for operation in _operations():
        for status, response in operation["responses"].items():
            assert "X-Request-Id" in response["headers"]
            assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))
            assert ("WWW-Authenticate" in response["headers"]) == (status == "401")
            for code in response["content"].get("application/problem+json", {"examples": {}})["examples"]:
                assert str(ERRORS[code].status) == status


def test_the_contract_is_readable_as_30() -> None:
    """The bundled Swagger UI reads it as 3.0: no word of 3.1 changes the meaning."""
    for node in _nodes(DOCUMENT):
        assert not ONLY_IN_31 & node.keys()
        assert isinstance(node.get("type", ""), str | dict)
        assert node.get("type") != "null"
        assert isinstance(node.get("examples", {}), dict)


def test_references_lead_somewhere() -> None:
    """Every reference names a schema that is there."""
    references = {node["$ref"] for node in _nodes(DOCUMENT) if "$ref" in node}
    assert references
    assert references <= {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


async def test_the_server_keeps_the_contract(api: Api, tmp_path: Path) -> None:
    """schemathesis, with all its checks, finds no answer of the live server that the contract does not allow."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "--no-color"),
        *("run", f"{api.url}/openapi.json", "--max-examples", "10", "--max-time", "20"),
        *("--header", f"Authorization: Bearer {KEY}", "--generation-deterministic"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.logic.api.schemathesis_hooks"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"Tested: 10" in output
    assert len(api.publishing.pushes) > 10


def _operations() -> Iterator[dict[str, Any]]:
    for calls in DOCUMENT["paths"].values():
        yield from calls.values()


def _operation(method: str, path: str) -> dict[str, Any] | None:
    """Return the description of a call; None when the path or the method is not one of ours."""
    for template, calls in DOCUMENT["paths"].items():
        wanted, given = template.split("/"), path.split("/")
        if len(wanted) == len(given) and all(
            want == have or (want.startswith("{") and have) for want, have in zip(wanted, given, strict=True)
        ):
            found: dict[str, Any] | None = calls.get(method)
            return found
    return None


def _nodes(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)
