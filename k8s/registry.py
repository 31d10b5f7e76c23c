"""The registry: gateways enter themselves in Redis with a time to live, logics read the list.

Both keys share a hash tag, so that in a cluster one script may touch them together. Which entries are alive is
decided by Redis' clock alone.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis

from k8s.base import OnPeers, OnState
from k8s.peers import Peer, PeerSet, peer_set, split_address
from protocol.partitions import KEY_PREFIX
from runtime.logs import get_logger
from runtime.redis import RedisError, Script, ScriptCall, run_one

TTL_S: Final = 10.0
"""An entry outlives three refreshes that were lost: a hiccup of Redis must not look like the death of all gateways."""

REFRESH_S: Final = 3.0
POLL_S: Final = 1.0
"""How soon a logic sees a new gateway, for one round trip a second and logic."""

KEYS: Final = (f"{KEY_PREFIX}:{{gateways}}:info", f"{KEY_PREFIX}:{{gateways}}:ends")


def _script(name: str) -> Script:
    return Script(files("k8s").joinpath("scripts", f"{name}.lua").read_text("utf-8"))


_REGISTER: Final = _script("register")
_UNREGISTER: Final = _script("unregister")
_LIST: Final = _script("list")


class _Loop:
    """Runs one step again and again, and tells a change of its success: the half that both sides share."""

    def __init__(self, step: Callable[[], Any], period_s: float, name: str) -> None:
        self._step = step
        self._period_s = period_s
        self._name = name
        self._on_state: OnState | None = None
        self._told: tuple[bool, str] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, on_state: OnState) -> None:
        self._on_state = on_state
        await self._once()
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        self._on_state = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def tell(self, ok: bool, detail: str) -> None:
        if self._on_state is not None and self._told != (ok, detail):
            self._told = (ok, detail)
            self._on_state(ok, detail)

    async def _run(self) -> None:
        # Not `while True`: redis-py swallows a cancellation that comes while it looks whether a connection is still
        # good (seen with 8.1), and the step would return as if nothing had happened.
        while self._on_state is not None:
            await asyncio.sleep(self._period_s)
            await self._once()

    async def _once(self) -> None:
        try:
            await self._step()
        except RedisError as error:
            self.tell(False, str(error))
        except Exception as error:
            # A bug of ours in one step must not end what keeps the entry, or the list, alive.
            get_logger(self._name).exception("registry step failed", error=repr(error))
            self.tell(False, repr(error))


@dataclass(frozen=True, slots=True)
class Registrant:
    """What a gateway says about itself. `instance` is new with every start, `address` is its link port's host:port."""

    name: str
    instance: int
    address: str


class Registration:
    """Keeps one gateway in the registry from `start` to `stop`, through every outage of Redis.

    `on_state` follows whether the entry is alive, with a sentence; it also says when another gateway claims the
    name, which is a mistake in the settings: the two would take turns in the list.
    """

    def __init__(self, client: Redis, registrant: Registrant, *, ttl_s: float = TTL_S, refresh_s: float = REFRESH_S):
        split_address(registrant.address)
        self._client = client
        self._registrant = registrant
        self._instance = f"{registrant.instance:x}"
        self._ttl_ms = round(ttl_s * 1000)
        self._entered = False
        self._loop = _Loop(self._refresh, refresh_s, "registration")

    def __repr__(self) -> str:
        return f"<Registration {self._registrant.name} at {self._registrant.address} entered={self._entered}>"

    async def start(self, on_state: OnState) -> None:
        """Enter, or try to; returns after the first attempt and goes on by itself."""
        await self._loop.start(on_state)

    async def stop(self) -> None:
        """Leave the list at once. When Redis does not answer, the entry ends by itself after its time to live."""
        await self._loop.stop()
        call = ScriptCall(_UNREGISTER, KEYS, (self._registrant.name, self._instance))
        try:
            await run_one(self._client, call)
        except RedisError as error:
            get_logger("registration").warning("entry not removed, it will expire", reason=str(error))
        self._entered = False

    async def _refresh(self) -> None:
        description = json.dumps({"instance": self._instance, "address": self._registrant.address})
        call = ScriptCall(_REGISTER, KEYS, (self._registrant.name, description, self._ttl_ms))
        try:
            before = await run_one(self._client, call)
        except RedisError:
            self._entered = False
            raise
        # At the first attempt a stranger under our name is this gateway before its restart.
        taken = self._entered and bool(before) and json.loads(_bytes(before))["instance"] != self._instance
        self._entered = True
        self._loop.tell(not taken, "another gateway uses this name" if taken else "registered")


class RegistryDiscovery:
    """Follows the registry by asking once a second."""

    def __init__(self, client: Redis, *, poll_s: float = POLL_S) -> None:
        self._client = client
        self._on_peers: OnPeers | None = None
        self._peers: PeerSet | None = None
        self._ignored: frozenset[str] = frozenset()
        self._loop = _Loop(self._poll, poll_s, "discovery")

    def __repr__(self) -> str:
        return f"<RegistryDiscovery peers={'unknown' if self._peers is None else len(self._peers)}>"

    async def start(self, on_peers: OnPeers, on_state: OnState) -> None:
        """Ask once and report, then follow."""
        self._on_peers = on_peers
        await self._loop.start(on_state)

    async def stop(self) -> None:
        """End."""
        self._on_peers = None
        await self._loop.stop()

    async def _poll(self) -> None:
        peers, ignored = _parse(await run_one(self._client, ScriptCall(_LIST, KEYS)))
        self._loop.tell(True, "registry answers")
        if ignored - self._ignored:
            get_logger("discovery").warning("registry entries ignored", entries=sorted(ignored))
        self._ignored = ignored
        if peers != self._peers and self._on_peers is not None:
            self._peers = peers
            self._on_peers(peers)


def _parse(answer: object) -> tuple[PeerSet, frozenset[str]]:
    """Read name, description, …; return the peers, and the entries that nobody can dial with the reason."""
    assert isinstance(answer, list), "the script returns a list"
    peers: list[Peer] = []
    ignored: set[str] = set()
    for name, description in zip(answer[::2], answer[1::2], strict=True):
        try:
            address = json.loads(description)["address"]
            split_address(address)
            peers.append(Peer(name.decode(), address))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            ignored.add(f"{name!r}: {error!r}")
    return peer_set(peers), frozenset(ignored)


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes), "the client does not decode"
    return value
