"""The bulk stream: POST /v1/publish, one push a line, one result a line, for as long as the publisher likes.

Reader: takes what the socket has, submits every complete line of it in one go, and stops reading while more is
accepted and unanswered than the options allow. Writer: sends the results in the order of the lines, as many as are
there at a time; what it has not sent counts as unanswered, so a publisher that does not read its results is not read
either. No task, lock or timer belongs to a line: at a message a line these would be the cost.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestPayloadError
from msgspec import UNSET

from logic.api.bodies import decode_line, messages_of
from logic.api.front import REQUEST_ID
from logic.api.intake import NDJSON, broken_body, check_content_type, invite
from logic.api.keys import ApiKey, KeyRing, Scope, check_scope
from logic.api.metrics import ApiMetrics
from logic.api.options import ApiOptions
from logic.api.problems import Problem, internal_problem, problem_of
from logic.api.push import direct_push, room_push
from logic.api.schemas import BulkLine, DirectResult, LineError, ReachOut, RoomResult
from logic.model import DirectPushRequest, Publishing, Receipt, RoomPushRequest
from protocol.codes import ErrorCode
from protocol.limits import PUSH_MAX_BYTES
from protocol.names import parse_room, parse_user_id
from runtime.logs import get_logger

PATH: Final = "/v1/publish"

LINE_MAX_BYTES: Final = PUSH_MAX_BYTES + 1024
"""A full push, and its target and idempotency key beside it."""

RESULTS_PER_WRITE: Final = 512
"""About 64 KiB of results: one write to the socket."""

_LOG: Final = get_logger("logic.api")
_ENCODE: Final = msgspec.json.Encoder().encode


class Pending(NamedTuple):
    """A line that is not answered yet: what became of it, or will, and what it counts for."""

    line: int
    outcome: "asyncio.Future[Receipt] | Problem"
    in_room: bool
    messages: int
    size: int


class BulkCalls:
    """The handler, and the streams that are open."""

    def __init__(self, publishing: Publishing, keys: KeyRing, metrics: ApiMetrics, options: ApiOptions) -> None:
        self._publishing = publishing
        self._keys = keys
        self._metrics = metrics
        self._options = options
        self._open: set[BulkStream] = set()

    async def publish(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/publish."""
        key = self._keys.authenticate(request.headers.get("Authorization"))
        if key.scopes <= {Scope.READ}:
            check_scope(key, Scope.PUBLISH)
        check_content_type(request, NDJSON)
        await invite(request)
        response = web.StreamResponse(headers={"Content-Type": NDJSON, "X-Request-Id": request[REQUEST_ID]})
        await response.prepare(request)
        stream = BulkStream(response, (self._keys, key), self._publishing, self._metrics, self._options)
        self._open.add(stream)
        try:
            await stream.run(request.content)
        finally:
            self._open.discard(stream)
        return response

    async def close(self, app: web.Application) -> None:
        """Stop reading from every open stream; each sends the results it owes and ends. For `on_shutdown`."""
        for stream in self._open:
            stream.stop()


class BulkStream:
    """One publisher's stream."""

    def __init__(
        self,
        response: web.StreamResponse,
        admitted: tuple[KeyRing, ApiKey],
        publishing: Publishing,
        metrics: ApiMetrics,
        options: ApiOptions,
    ) -> None:
        self._response = response
        self._keys, self._key = admitted
        self._submit = publishing.submit
        self._metrics = metrics
        self._count_accepted = metrics.route(PATH).count_accepted
        self._options = options
        self._pending: deque[Pending] = deque()
        self._messages = 0
        self._bytes = 0
        self._line = 0
        self._ended = False
        self._reader: asyncio.Task[None] | None = None
        self._something_to_write = asyncio.Event()
        self._room_to_read = asyncio.Event()

    def __repr__(self) -> str:
        return f"<BulkStream {self._key.name} line={self._line} pending={len(self._pending)} ended={self._ended}>"

    async def run(self, content: StreamReader) -> None:
        """Serve until the request ends, a line is too long, the client leaves or `stop` is called."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._reader = tasks.create_task(self._read(content))
                tasks.create_task(self._write())
        except* OSError:
            pass  # the client left: what was submitted is published all the same, nobody reads the results
        finally:
            for pending in self._pending:
                if not isinstance(pending.outcome, Problem):
                    pending.outcome.add_done_callback(_ignore)
        with suppress(OSError):
            await self._response.write_eof()

    def stop(self) -> None:
        """Read no more: this process is leaving."""
        if self._reader is not None and not self._ended:
            self._end(Problem(ErrorCode.UNAVAILABLE, "this server is stopping: send this line and the next to another"))
            self._reader.cancel()

    async def _read(self, content: StreamReader) -> None:
        try:
            await self._take_lines(content)
        except Problem as problem:
            self._end(problem)
        except RequestPayloadError:
            self._end(broken_body())
        else:
            self._end(None)

    async def _take_lines(self, content: StreamReader) -> None:
        tail = b""
        while chunk := await content.readany():
            lines = (tail + chunk).split(b"\n")
            tail = lines.pop()
            for line in lines:
                self._take(line)
            if len(tail) > LINE_MAX_BYTES:
                raise _line_too_long()
            if lines:
                self._metrics.bulk_lines.inc(len(lines))
                self._something_to_write.set()
                await self._have_room()
        if tail:
            self._metrics.bulk_lines.inc()
            self._take(tail)

    async def _have_room(self) -> None:
        while (
            self._messages >= self._options.bulk_messages_in_flight or self._bytes >= self._options.bulk_bytes_in_flight
        ):
            self._room_to_read.clear()
            await self._room_to_read.wait()

    def _take(self, text: bytes) -> None:
        if len(text) > LINE_MAX_BYTES:
            raise _line_too_long()
        self._line += 1
        if not text or text.isspace():
            return  # a line that keeps the connection busy; it counts, and has no result
        try:
            push, in_room = self._push_of(decode_line(text))
            self._keys.charge(self._key)
            pending = Pending(self._line, self._submit(push), in_room, len(push.messages), len(text))
        except Exception as error:
            pending = Pending(self._line, _refusal(error), False, 0, len(text))
        self._messages += pending.messages
        self._bytes += pending.size
        self._pending.append(pending)

    def _push_of(self, line: BulkLine) -> tuple[RoomPushRequest | DirectPushRequest, bool]:
        """Return the push of a line and whether it is for a room; raise Problem or NameInvalid."""
        if (line.room is not UNSET) + (line.user is not UNSET) + (line.broadcast is not UNSET) != 1:
            raise Problem(
                ErrorCode.FIELD_INVALID, "room: exactly one of room, user and broadcast is needed", field="room"
            )
        idempotency_key = None if line.idempotency_key is UNSET else line.idempotency_key
        if line.room is not UNSET:
            check_scope(self._key, Scope.PUBLISH)
            room = parse_room(line.room)
            return room_push(room, messages_of(line), self._key, idempotency_key), True
        if line.user is not UNSET:
            check_scope(self._key, Scope.USER)
            user = parse_user_id(line.user)
            return direct_push(user, messages_of(line), self._key, idempotency_key), False
        if line.broadcast is not True:
            raise Problem(ErrorCode.FIELD_INVALID, "broadcast: can only be true", field="broadcast")
        check_scope(self._key, Scope.BROADCAST)
        return direct_push(None, messages_of(line), self._key, idempotency_key), False

    def _end(self, problem: Problem | None) -> None:
        """Take no more lines; a problem becomes the result of the line that would have been next."""
        if problem is not None:
            self._pending.append(Pending(self._line + 1, problem, False, 0, 0))
        self._ended = True
        self._something_to_write.set()

    async def _write(self) -> None:
        while self._pending or not self._ended:
            await self._news()
            done = self._take_decided()
            await self._response.write(b"".join([self._result_of(pending) for pending in done]))
            self._messages -= sum(pending.messages for pending in done)
            self._bytes -= sum(pending.size for pending in done)
            self._room_to_read.set()

    async def _news(self) -> None:
        """Wait until the first pending line is decided; when there is none, until there is one, or the end."""
        if not self._pending:
            self._something_to_write.clear()
            await self._something_to_write.wait()
        if self._pending and not isinstance(outcome := self._pending[0].outcome, Problem) and not outcome.done():
            await asyncio.wait([outcome])

    def _take_decided(self) -> list[Pending]:
        """Remove and return the decided lines at the head of the queue."""
        pending = self._pending
        decided: list[Pending] = []
        while pending and len(decided) < RESULTS_PER_WRITE:
            outcome = pending[0].outcome
            if not isinstance(outcome, Problem) and not outcome.done():
                break
            decided.append(pending.popleft())
        return decided

    def _result_of(self, pending: Pending) -> bytes:
        outcome = pending.outcome
        if isinstance(outcome, Problem):
            problem = outcome
        elif outcome.cancelled():
            problem = Problem(ErrorCode.UNAVAILABLE, "this server is stopping: send this line to another")
        elif (error := outcome.exception()) is not None:
            problem = _refusal(error)
        else:
            return self._receipt(pending, outcome.result())
        self._metrics.count_problem(problem.code)
        return _ENCODE(LineError(pending.line, problem.document())) + b"\n"

    def _receipt(self, pending: Pending, receipt: Receipt) -> bytes:
        self._count_accepted(receipt.accepted)
        reach = ReachOut(receipt.reach.reached, receipt.reach.failed)
        result: RoomResult | DirectResult
        if pending.in_room:
            result = RoomResult(
                pending.line,
                receipt.accepted,
                receipt.first_seq,
                receipt.last_seq,
                receipt.epoch,
                reach,
                receipt.replayed,
            )
        else:
            result = DirectResult(pending.line, receipt.accepted, reach, receipt.replayed)
        return _ENCODE(result) + b"\n"


def _refusal(error: BaseException) -> Problem:
    problem = problem_of(error)
    if problem is None:
        _LOG.error("bulk line failed unexpectedly", exc_info=error)
        problem = internal_problem()
    return problem


def _line_too_long() -> Problem:
    return Problem(
        ErrorCode.BODY_TOO_LARGE, f"line: has more than {LINE_MAX_BYTES} bytes; the stream ends here", field="line"
    )


def _ignore(outcome: "asyncio.Future[Receipt]") -> None:
    """Look at the outcome, so that the loop does not complain that nobody did."""
    if not outcome.cancelled():
        outcome.exception()
