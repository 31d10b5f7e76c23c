"""All links: one for every gateway that discovery names, for as long as it is named or alive."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from k8s.peers import Peer, PeerSet, split_address
from logic.delivery import Delivery
from logic.link import Link, LinkEvents, LinkLimits
from protocol.envelope import Hello
from runtime.backoff import Backoff
from runtime.http2 import ConnectFailed, Stream, StreamRefused, open_stream
from runtime.lifecycle import Background
from runtime.logs import get_logger

PATH: Final = "/v1/link"
BACKOFF_INITIAL_S: Final = 0.1
BACKOFF_MAXIMUM_S: Final = 5.0
"""A gateway that came back waits at most this long for its link; a dead one costs an attempt every few seconds."""

_LOG: Final = get_logger("logic.links")


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What every link has in common. `token` is the secret that gateways ask for; `hello` says who we are."""

    token: str
    hello: Hello
    limits: LinkLimits
    keepalive_s: float = 5.0


class Dialler:
    """Keeps a link to one gateway, dialling again for as long as it is wanted."""

    def __init__(self, peer: Peer, options: LinkOptions, events: LinkEvents) -> None:
        self.peer = peer
        self.link: Link | None = None
        self.reason = "not tried yet"
        self.wanted = True
        self._options = options
        self._events = events
        self._backoff = Backoff(BACKOFF_INITIAL_S, BACKOFF_MAXIMUM_S, Random())
        self._wake = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Dialler {self.peer.name} wanted={self.wanted} link={self.link!r} reason={self.reason!r}>"

    async def run(self) -> None:
        """Dial, wait for the end, dial again; return once the gateway is not wanted and the link is gone."""
        while self.wanted:
            await self._once()
            if self.wanted:
                await self._pause(self._backoff.next_delay())

    def want(self, wanted: bool) -> None:
        """Say whether a lost link is to be opened again. A link that is alive stays in both cases."""
        if wanted != self.wanted:
            self.wanted = wanted
            self._wake.set()

    async def _once(self) -> None:
        host, port = split_address(self.peer.address)
        headers = {"authorization": f"Bearer {self._options.token}"}
        try:
            await open_stream(
                host,
                port,
                path=PATH,
                headers=headers,
                handler_factory=self._opened,
                keepalive_s=self._options.keepalive_s,
            )
        except (ConnectFailed, StreamRefused) as error:
            self._failed(str(error))
            return
        link = self.link
        assert link is not None, "open_stream calls the factory before it returns"
        try:
            reason = await link.closed
        finally:
            self.link = None
            if not link.closed.done():
                link.abort()
        self._failed(reason)

    def _opened(self, stream: Stream) -> Link:
        self.reason = ""
        self.link = Link(stream, self.peer.name, self._options.hello, self._options.limits, self._events)
        return self.link

    def greeted(self) -> None:
        """Note that the gateway is really there: the next loss is dialled again soon."""
        self._backoff.reset()

    def _failed(self, reason: str) -> None:
        # A row of equal failures is one line, and an end that nobody minds is none.
        if self.wanted and reason != self.reason:
            _LOG.warning("no link", gateway=self.peer.name, address=self.peer.address, reason=reason)
        self.reason = reason

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


class Links:
    """The set of diallers, and the one place from which something goes to every gateway."""

    def __init__(self, options: LinkOptions, events: LinkEvents, background: Background) -> None:
        self._options = options
        self._events = LinkEvents(self._up, events.counts, events.submit, self._lost)
        self._outer = events
        self._background = background
        self._diallers: dict[tuple[str, str], Dialler] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._stopping = False
        self.on_change: Callable[[], None] = _nothing
        self._refused_before = 0

    def __repr__(self) -> str:
        return f"<Links known={self.known} up={len(self.up())}>"

    @property
    def known(self) -> int:
        """How many gateways there are, to the best of our knowledge: discovered, or linked all the same."""
        return len(self._diallers)

    def diallers(self) -> list[Dialler]:
        """Return the diallers, by name."""
        return sorted(self._diallers.values(), key=lambda dialler: dialler.peer)

    def up(self) -> list[Link]:
        """Return the links that work."""
        return [link for dialler in self._diallers.values() if (link := dialler.link) is not None and link.up]

    @property
    def refused(self) -> int:
        """How many push envelopes were not sent because a gateway was too far behind, since the start."""
        return self._refused_before + sum(link.refused for link in self.up())

    def follow(self, peers: PeerSet) -> None:
        """Dial who is new, stop dialling who has left. A gateway under a new address is a new one."""
        wanted = {(peer.name, peer.address): peer for peer in peers}
        if self._stopping:
            return
        for key, dialler in self._diallers.items():
            dialler.want(key in wanted)
            dialler.peer = wanted.get(key, dialler.peer)
        for key, peer in wanted.items():
            if key not in self._diallers:
                self._dial(key, peer)
        self.on_change()

    def push(self, data: bytes, envelopes: int, delivery: Delivery) -> None:
        """Send push envelopes to every gateway, and seal the delivery."""
        for dialler in self._diallers.values():
            link = dialler.link
            if link is not None and not link.closed.done():
                link.push(data, envelopes, delivery)
        delivery.sealed()

    async def stop(self, patience_s: float) -> None:
        """End every link; those whose gateway does not answer within `patience_s` are cut."""
        self._stopping = True
        for dialler in self._diallers.values():
            dialler.want(False)
        open_links = [dialler.link for dialler in self._diallers.values() if dialler.link is not None]
        for link in open_links:
            link.end()
        if open_links:
            await asyncio.wait([link.closed for link in open_links], timeout=patience_s)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _dial(self, key: tuple[str, str], peer: Peer) -> None:
        dialler = self._diallers[key] = Dialler(peer, self._options, self._events)
        task = self._background.spawn(dialler.run(), f"link {peer.name}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[str, str]) -> None:
        dialler = self._diallers.pop(key)
        del self._tasks[key]
        if dialler.wanted and not self._stopping:
            # It came back to the list in the moment in which its dialler gave it up.
            self._dial(key, dialler.peer)
        self.on_change()

    def _up(self, link: Link) -> None:
        for dialler in self._diallers.values():
            if dialler.link is link:
                dialler.greeted()
                _LOG.info("link up", gateway=link.name, address=dialler.peer.address)
        self._outer.up(link)
        self.on_change()

    def _lost(self, link: Link, clean: bool) -> None:
        self._refused_before += link.refused
        self._outer.lost(link, clean)
        self.on_change()


def _nothing() -> None:
    pass
