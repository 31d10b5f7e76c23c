"""The demo publisher against a push API that answers as a real one may."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loadgen.demo.publisher import DemoOptions, Publisher
from loadgen.errors import LoadgenError
from loadgen.stack.ports import free_port
from tests.loadgen.command import running

KEY = "the-key"
FAST = 500.0


class Api:
    """Takes pushes, giving the scripted answers first and 200 from then on."""

    def __init__(self, answers: Sequence[web.Response] = ()) -> None:
        self._answers = list(answers)
        self.pushes: asyncio.Queue[tuple[str, Any, str]] = asyncio.Queue()

    async def handle(self, request: web.Request) -> web.Response:
        """Record a push and answer."""
        self.pushes.put_nowait((request.path, await request.json(), request.headers["Authorization"]))
        return self._answers.pop(0) if self._answers else web.json_response({"accepted": 1})

    @asynccontextmanager
    async def serving(self, port: int | None = None) -> AsyncIterator[str]:
        """Listen for the length of the block; gives the URL."""
        app = web.Application()
        app.router.add_post("/v1/rooms/{room}/messages", self.handle)
        async with TestServer(app, port=port) as server:
            yield str(server.make_url("/"))


@asynccontextmanager
async def publishing(url: str, complaints: list[str] | None = None) -> AsyncIterator[asyncio.Task[None]]:
    """Run a publisher for the length of the block."""
    options = DemoOptions(url, ("a/b",), FAST, KEY, seed=1)
    said: list[str] = [] if complaints is None else complaints
    task = asyncio.create_task(Publisher(options, said.append).run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_messages_are_posted_with_the_key() -> None:
    """Each message goes to its room with the key; a slash in a room's name is part of the name."""
    api = Api()
    async with api.serving() as url, publishing(url):
        path, body, authorization = await api.pushes.get()
    assert path == "/v1/rooms/a/b/messages"
    assert body["delivery"] == "lossy"
    assert body["data"]["type"] == "danmaku"
    assert authorization == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_for_now_is_tried_again(status: int) -> None:
    """An answer that is about the moment is waited out, with the same message, and said once."""
    api = Api([web.Response(status=status, headers={"Retry-After": "0"}), web.Response(status=status)])
    complaints: list[str] = []
    async with api.serving() as url, publishing(url, complaints):
        bodies = [(await api.pushes.get())[1] for _ in range(4)]
    assert bodies[0] == bodies[1] == bodies[2] != bodies[3]
    assert [line.split()[0] for line in complaints] == ["waiting", "publishing"]


async def test_a_wrong_key_ends_the_demo() -> None:
    """An answer that trying again cannot change ends the publisher and is shown."""
    api = Api([web.Response(status=401, text="unknown key")])
    async with api.serving() as url, publishing(url) as task:
        with pytest.raises(LoadgenError, match="answered 401: unknown key"):
            await task
    assert api.pushes.qsize() == 1


async def test_it_waits_for_a_server_that_is_not_up_yet() -> None:
    """The publisher may be started before the server, and says once that it waits."""
    port = free_port()
    complaints: list[str] = []
    async with publishing(f"http://127.0.0.1:{port}", complaints):
        while not complaints:
            await asyncio.sleep(0)
        api = Api()
        async with api.serving(port):
            await api.pushes.get()
            await api.pushes.get()
    assert len(complaints) == 2


async def test_sigterm_ends_it_silently() -> None:
    """`loadgen demo` ends with SIGTERM at once, with exit code 0 and without a word."""
    api = Api()
    async with (
        api.serving() as url,
        running("-m", "loadgen", "demo", "--url", url, env={"LOADGEN_API_KEY": KEY}) as command,
    ):
        await api.pushes.get()
        command.process.send_signal(signal.SIGTERM)
        code = await command.end()
    assert (code, command.output, command.errors) == (0, "", "")


async def test_a_refused_key_is_one_line_and_exit_1() -> None:
    """The command shows why it cannot go on, without a traceback."""
    api = Api([web.Response(status=403, text="no scope publish")])
    async with (
        api.serving() as url,
        running("-m", "loadgen", "demo", "--url", url, env={"LOADGEN_API_KEY": KEY}) as command,
    ):
        code = await command.end()
    assert code == 1
    assert command.errors.count("\n") == 1
    assert "answered 403: no scope publish" in command.errors
