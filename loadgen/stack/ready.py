"""Waiting until parts can be used."""

import asyncio
from collections.abc import Iterable

import aiohttp

from loadgen.stack.plan import Part

INTERVAL_S = 0.1
REQUEST_TIMEOUT_S = 2.0


async def wait_ready(parts: Iterable[Part], timeout_s: float) -> dict[str, str]:
    """Ask each part's ready URL until it answers 200, for `timeout_s` seconds at most.

    Returns what the last answer was of those that are still not ready, by name: empty means all are.
    """
    pending = {part.name: part.ready_url for part in parts if part.ready_url is not None}
    answers: dict[str, str] = dict.fromkeys(pending, "not asked yet")

    async def ask(session: aiohttp.ClientSession, name: str, url: str) -> None:
        while (answer := await _ask_once(session, url)) is not None:
            answers[name] = answer
            # There is no event to wait for: the part is another process.
            await asyncio.sleep(INTERVAL_S)
        del answers[name]

    try:
        async with asyncio.timeout(timeout_s), _session() as session, asyncio.TaskGroup() as group:
            for name, url in pending.items():
                group.create_task(ask(session, name, url))
    except TimeoutError:
        return answers
    return {}


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))


async def _ask_once(session: aiohttp.ClientSession, url: str) -> str | None:
    """Return why the part is not ready, or None when it is."""
    try:
        async with session.get(url) as response:
            return None if response.status == 200 else (await response.text()).strip()
    except (aiohttp.ClientError, TimeoutError) as error:
        return str(error) or type(error).__name__
