"""The one middleware: request ids, problems instead of exceptions, numbers and log lines."""

import logging
import re
import secrets
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from logic.api.intake import waits_for_invitation
from logic.api.metrics import ApiMetrics
from logic.api.problems import Problem, internal_problem, problem_of, shorten
from protocol.codes import ErrorCode
from runtime.logs import get_logger

REQUEST_ID: Final = web.RequestKey("request_id", str)
"""Where a handler that sends its own headers (the bulk stream) finds the id."""

UNMATCHED: Final = "unmatched"
"""The route label of requests that no route takes."""

_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_COMPONENT: Final = "logic.api"
_STDLIB_LOGGER: Final = logging.getLogger(_COMPONENT)
_LOG: Final = get_logger(_COMPONENT)


def make_front(metrics: ApiMetrics) -> Middleware:
    """Return the middleware. Every answer leaves with X-Request-Id; nothing but a lost connection leaves as an
    exception."""
    new_id = _id_source()

    @web.middleware
    async def front(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = perf_counter()
        given = request.headers.get("X-Request-Id")
        request_id = given if given is not None and _GIVEN_ID.fullmatch(given) else new_id()
        request[REQUEST_ID] = request_id
        try:
            response = await handler(request)
        except ConnectionError:
            raise  # the client left; there is nobody to answer
        except Exception as error:
            response = _answer_error(error, request, metrics)
        resource = request.match_info.route.resource
        route = metrics.route(UNMATCHED if resource is None else resource.canonical)
        route.count_request(response.status)
        if not response.prepared:
            response.headers["X-Request-Id"] = request_id
            route.observe_seconds(perf_counter() - started)
        if response.status >= 500 or _STDLIB_LOGGER.isEnabledFor(logging.DEBUG):
            _log(request, response.status, request_id)
        return response

    return front


def _answer_error(error: Exception, request: web.Request, metrics: ApiMetrics) -> web.StreamResponse:
    problem = problem_of(error)
    if problem is None and isinstance(error, web.HTTPException):
        problem = _routing_problem(error, request)
        if problem is None:
            raise error
    if problem is None:
        _LOG.error("request failed unexpectedly", request_id=request[REQUEST_ID], exc_info=error)
        problem = internal_problem()
    metrics.count_problem(problem.code)
    response = problem.response()
    if waits_for_invitation(request):
        # The client may send the body all the same or go on with its next request: nobody can tell which it is.
        response.force_close()
    return response


def _routing_problem(error: web.HTTPException, request: web.Request) -> Problem | None:
    """Translate what aiohttp's router raises."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(
            ErrorCode.METHOD_NOT_ALLOWED,
            f"{shorten(error.method)} is not possible here, but: {allowed}",
            headers={"Allow": allowed},
        )
    if isinstance(error, web.HTTPNotFound):
        return Problem(ErrorCode.NOT_FOUND, f"nothing is at {shorten(request.path)}; /openapi.json lists what is")
    return None


def _log(request: web.Request, status: int, request_id: str) -> None:
    """Write the line of a request: never its query string, which may hold a key."""
    resource = request.match_info.route.resource
    log = _LOG.warning if status >= 500 else _LOG.debug
    log(
        "request answered",
        request_id=request_id,
        method=request.method,
        route=UNMATCHED if resource is None else resource.canonical,
        status=status,
    )


def _id_source() -> Callable[[], str]:
    """Return a maker of ids: unique among processes by their prefix, and cheap."""
    prefix = secrets.token_hex(6)
    numbers = count(1)
    return lambda: f"{prefix}-{next(numbers):x}"
