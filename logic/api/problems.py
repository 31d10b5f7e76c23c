"""Problem documents (RFC 9457): how the push API says no."""

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from logic.api.schemas import ProblemOut
from logic.model import IdempotencyConflict, Unavailable
from protocol.codes import ERRORS, ErrorCode
from protocol.errors import PushError
from protocol.names import NameInvalid

PROBLEM_TYPE: Final = "application/problem+json"

TYPE_PREFIX: Final = "urn:danmaku-push:problem:"
"""The `type` of a problem is a name, not an address: nothing has to be online to read an error."""

ECHO_MAX_CHARS: Final = 80
"""How much of the client's own text an error repeats."""

_ENCODE: Final = msgspec.json.Encoder().encode


class Problem(PushError):
    """A request, or a line of a bulk stream, that is refused.

    `detail` names the field and the limit. `field` is the path of what was at fault. `headers` go with the response;
    with `close` the connection ends after it, because what follows on it cannot be made out.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.headers = headers
        self.close = close

    @property
    def status(self) -> int:
        """The HTTP status of this problem's code."""
        return ERRORS[self.code].status

    def document(self) -> ProblemOut:
        """Return the document that tells the client."""
        info = ERRORS[self.code]
        return ProblemOut(
            type=TYPE_PREFIX + self.code,
            title=info.meaning,
            status=info.status,
            detail=self.detail,
            code=self.code,
            field=msgspec.UNSET if self.field is None else self.field,
        )

    def response(self) -> web.Response:
        """Return the answer to a request that is refused."""
        response = web.Response(body=_ENCODE(self.document()), status=self.status, content_type=PROBLEM_TYPE)
        if self.headers is not None:
            response.headers.update(self.headers)
        if self.close:
            response.force_close()
        return response


def problem_of(error: BaseException) -> Problem | None:
    """Translate what the layers below raise; None for what nobody foresaw."""
    match error:
        case Problem():
            return error
        case Unavailable():
            return Problem(ErrorCode.UNAVAILABLE, str(error), headers={"Retry-After": str(max(1, error.retry_after_s))})
        case IdempotencyConflict():
            return Problem(ErrorCode.IDEMPOTENCY_CONFLICT, str(error), field="Idempotency-Key")
        case NameInvalid():
            field = "room" if error.code is ErrorCode.ROOM_INVALID else "user"
            return Problem(error.code, str(error), field=field)
    return None


def internal_problem() -> Problem:
    """Return the problem for a fault of ours: it tells the client nothing of our insides."""
    return Problem(ErrorCode.INTERNAL, "something failed here; the log has it under this answer's X-Request-Id")


def shorten(text: str) -> str:
    """Return the client's text cut to what an error may repeat; bytes that were not UTF-8 become question marks."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= ECHO_MAX_CHARS else text[:ECHO_MAX_CHARS] + "…"
