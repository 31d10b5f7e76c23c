"""Publishes what a `Crowd` writes through the push API until it is asked to stop."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

import aiohttp

from loadgen.demo.danmaku import Crowd, Push, rate_at
from loadgen.errors import LoadgenError
from runtime.backoff import Backoff

REQUEST_TIMEOUT_S = 5.0
FIRST_RETRY_S = 0.2
SLOWEST_RETRY_S = 5.0
LONGEST_RETRY_AFTER_S = 60.0
"""A server that asks for more patience than this is asked again all the same."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Where to publish, and how much: `rate_per_s` is the mean over all rooms together."""

    url: str
    rooms: Sequence[str]
    rate_per_s: float
    key: str
    seed: int | None = None


def demo(options: DemoOptions) -> None:
    """Publish until SIGTERM or SIGINT; raise `LoadgenError` when the server refuses our messages for good."""
    with asyncio.Runner() as runner:
        runner.run(_until_signal(Publisher(options, _complain)))


def _complain(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


async def _until_signal(publisher: "Publisher") -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    work = asyncio.ensure_future(publisher.run())
    stop = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return
    stop.cancel()
    await work


class _Later(Exception):
    """The message was not taken this time; `after_s` is the server's own wish, if it had one."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Publisher:
    """Posts one message after the other. While the server is away it says so once, waits, and tries the same again."""

    def __init__(self, options: DemoOptions, complain: Callable[[str], None]) -> None:
        self._options = options
        self._complain = complain
        rng = Random(options.seed)
        self._crowd = Crowd(options.rooms, rng)
        self._backoff = Backoff(FIRST_RETRY_S, SLOWEST_RETRY_S, rng)
        self._waiting = False
        self.published = 0

    def __repr__(self) -> str:
        return f"<Publisher published={self.published} waiting={self._waiting}>"

    async def run(self) -> None:
        """Publish until cancelled; raise `LoadgenError` on an answer that trying again cannot change."""
        headers = {"Authorization": f"Bearer {self._options.key}", "Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        clock = asyncio.get_running_loop().time
        start = clock()
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            while True:
                await self._deliver(session, self._crowd.next())
                await asyncio.sleep(self._crowd.pause(rate_at(clock() - start, self._options.rate_per_s)))

    async def _deliver(self, session: aiohttp.ClientSession, push: Push) -> None:
        while True:
            try:
                await self._post(session, push)
            except _Later as later:
                if not self._waiting:
                    self._complain(f"waiting for {self._options.url}: {later}")
                self._waiting = True
                await asyncio.sleep(max(self._backoff.next_delay(), later.after_s or 0.0))
            else:
                break
        if self._waiting:
            self._complain(f"publishing to {self._options.url}")
        self._waiting = False
        self._backoff.reset()
        self.published += 1

    async def _post(self, session: aiohttp.ClientSession, push: Push) -> None:
        message = {"data": push.data, "delivery": push.delivery, "priority": push.priority}
        url = f"{self._options.url.rstrip('/')}/v1/rooms/{quote(push.room, safe='')}/messages"
        body = json.dumps(message, ensure_ascii=False).encode()
        try:
            async with session.post(url, data=body) as response:
                await _judge(response)
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
            raise _Later(str(error) or "no answer in time") from error


async def _judge(response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    text = " ".join((await response.text()).split())
    if response.status == 429 or response.status >= 500:
        raise _Later(f"{response.status} {text}", _retry_after(response))
    raise LoadgenError(f"{response.url} answered {response.status}: {text}")


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    # The other form of the header, a date, is one that no limiter of ours sends (RFC 9110, section 10.2.3).
    return min(float(value), LONGEST_RETRY_AFTER_S) if value.isdecimal() else None
