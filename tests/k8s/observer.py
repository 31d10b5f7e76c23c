"""Records what a discovery reports, and lets a test wait for it."""

import asyncio
from collections.abc import Callable

from k8s.peers import PeerSet

PATIENCE_S = 10.0


class Observer:
    """The two callbacks of a discovery. `sets` and `states` hold every report, in order."""

    def __init__(self) -> None:
        self.sets: list[PeerSet] = []
        self.states: list[tuple[bool, str]] = []
        self._changed = asyncio.Condition()

    def __repr__(self) -> str:
        return f"<Observer sets={len(self.sets)} states={len(self.states)}>"

    def on_peers(self, peers: PeerSet) -> None:
        self.sets.append(peers)
        self._wake()

    def on_state(self, ok: bool, detail: str) -> None:
        self.states.append((ok, detail))
        self._wake()

    async def until(self, condition: Callable[["Observer"], bool]) -> None:
        """Wait until the condition holds; fail after ten seconds."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def until_names(self, *names: str) -> None:
        """Wait until exactly these peers are reported."""
        await self.until(lambda seen: bool(seen.sets) and {peer.name for peer in seen.sets[-1]} == set(names))

    def _wake(self) -> None:
        self._task = asyncio.ensure_future(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
