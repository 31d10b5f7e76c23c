"""What the headers of a request say, and its body read within the limit. Headers are judged before the body is read."""

import asyncio
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestPayloadError

from logic.api.problems import Problem, shorten
from protocol.codes import ErrorCode
from protocol.limits import PUSH_MAX_BYTES

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
FORM: Final = "application/x-www-form-urlencoded"

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def leave_expectation(request: web.Request) -> None:
    """Answer `Expect: 100-continue` (RFC 9110, section 10.1.1) with nothing yet: `invite` does it once the headers
    are found good, so that a refused body is never sent."""


def waits_for_invitation(request: web.Request) -> bool:
    """Tell whether the client holds its body back until it is told to send it."""
    return request.headers.get("Expect", "").lower() == "100-continue"


async def invite(request: web.Request) -> None:
    """Tell a client that waits for it that its body is wanted now."""
    if waits_for_invitation(request):
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0


def check_content_type(request: web.Request, expected: str) -> None:
    """Raise Problem 415 unless the body is declared as the expected type, in UTF-8 and without a content coding."""
    headers = request.headers
    given = headers.get("Content-Type", "")
    if given != expected:
        media_type, _, parameters = given.partition(";")
        if media_type.strip().lower() != expected or not _is_utf8(parameters):
            got = f"got {shorten(given)!r}" if given else "none was given"
            raise Problem(
                ErrorCode.CONTENT_TYPE, f"Content-Type: must be {expected} in UTF-8, {got}", field="Content-Type"
            )
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(
            ErrorCode.CONTENT_TYPE,
            "Content-Encoding: send the body as it is, without compression",
            field="Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )


async def read_body(request: web.Request, timeout_s: float) -> bytes:
    """Return the whole body; raise Problem 413 as soon as it is known to be over 1 MiB, 400 when it breaks off or is
    not there in time."""
    declared = request.content_length
    if declared is not None and declared > PUSH_MAX_BYTES:
        raise _too_large(f"has {declared} bytes")
    await invite(request)
    content = request.content
    if content.is_eof():
        body = await content.readany()
    else:
        body = await _read_slowly(content, timeout_s)
    if len(body) > PUSH_MAX_BYTES:
        raise _too_large(f"has more than {PUSH_MAX_BYTES} bytes")
    return body


async def _read_slowly(content: StreamReader, timeout_s: float) -> bytes:
    """Return a body that is still arriving, or the first of it that is over the limit."""
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            while len(body) <= PUSH_MAX_BYTES and (chunk := await content.readany()):
                body += chunk
    except RequestPayloadError as error:
        raise broken_body() from error
    except TimeoutError as error:
        raise Problem(
            ErrorCode.JSON_INVALID, f"body: was not complete after {timeout_s:g} s", field="body", close=True
        ) from error
    return bytes(body)


def broken_body() -> Problem:
    """Return the problem for a body whose transfer coding makes no sense."""
    return Problem(
        ErrorCode.JSON_INVALID,
        "body: its transfer coding is broken (RFC 9112, section 7)",
        field="body",
        close=True,
    )


def idempotency_key(request: web.Request) -> str | None:
    """Return the Idempotency-Key header; raise Problem 422 when there are several."""
    headers = request.headers
    if "Idempotency-Key" not in headers:
        return None
    keys = headers.getall("Idempotency-Key")
    if len(keys) > 1:
        raise Problem(ErrorCode.FIELD_INVALID, "Idempotency-Key: one is enough", field="Idempotency-Key")
    return keys[0]


def _is_utf8(parameters: str) -> bool:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in {"utf-8", "utf8"}:
            return False
    return True


def _too_large(what: str) -> Problem:
    return Problem(
        ErrorCode.BODY_TOO_LARGE,
        f"body: {what}, the limit is {PUSH_MAX_BYTES}",
        field="body",
        close=True,
    )
