"""The gateway's end of the links: who is let in, what is taken, and what is said back."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from h2.errors import ErrorCodes

from gateway.core import Gateway
from gateway.links import LINK_PATH, Link, LinkContext, Links, PushTaker
from protocol.envelope import (
    Ack,
    Counts,
    Envelope,
    EnvelopeReader,
    Hello,
    Submit,
    SubmitResult,
    Totals,
    Unknown,
    decode,
    encode,
)
from runtime.http2.stream import Refusal, Stream
from tests.gateway.embedded import Client, Positions, broadcast, push, settings, user_push

TOKEN = "a token of the tiers"
ME = Hello(1, "gateway-a")
LOGIC = Hello(7, "logic-a")


class ScriptedWire:
    """Implements `runtime.http2.stream.Wire`: nothing leaves; resets are written down."""

    def __init__(self) -> None:
        self.resets: list[ErrorCodes] = []

    def wake(self, stream: Stream) -> None:
        pass

    def credit(self, stream: Stream, size: int) -> None:
        pass

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        self.resets.append(code)

    def unsent_bytes(self) -> int:
        return 0


class Logic:
    """A logic at the other end of a stream."""

    def __init__(self, links: Links, **headers: str) -> None:
        self.wire = ScriptedWire()
        defaults = {":path": LINK_PATH, "authorization": f"Bearer {TOKEN}"}
        self.stream = Stream(self.wire, 1, {**defaults, **headers}, "10.0.0.1:5000")
        self.accepted = links.accept(self.stream)
        self._reader = EnvelopeReader()

    @property
    def link(self) -> Link:
        """The gateway's end; it must have been accepted."""
        assert isinstance(self.accepted, Link)
        return self.accepted

    def says(self, *envelopes: Envelope) -> None:
        """Send envelopes down, in one chunk."""
        self.link.stream_data(b"".join(encode(envelope) for envelope in envelopes))

    def heard(self) -> list[Envelope]:
        """Return what came up since the last time."""
        return [decode(raw) for raw in self._reader.feed(self.stream.take(self.stream.pending()))]


class Platform:
    """A gateway with a viewer and its links."""

    def __init__(self) -> None:
        self.gateway = Gateway(settings(fanout_threads=0), Positions())
        self.viewer = Client(self.gateway)
        self.counts: list[int] = []
        taker = PushTaker(self.gateway.hub, self.gateway.counters)
        upstream, presence = self.gateway.upstream, self.gateway.presence
        self.links = Links(LinkContext(ME, TOKEN, taker, upstream, presence, self.counts.append))


@pytest_asyncio.fixture
async def platform() -> AsyncIterator[Platform]:
    """Make the gateway; its viewer is in the room `42`."""
    made = Platform()
    await made.viewer.join("42")
    yield made
    made.viewer.lose()


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        (":path", "/v2/link", 404),
        ("authorization", "", 401),
        ("authorization", "Bearer", 401),
        ("authorization", "Bearer another token", 401),
        ("authorization", "Bearer schlüssel", 401),
        ("authorization", f"Basic {TOKEN}", 401),
        ("authorization", TOKEN, 401),
    ],
)
async def test_strangers_are_refused(platform: Platform, header: str, value: str, status: int) -> None:
    """Only a logic that knows the path and the token gets a link."""
    refusal = Logic(platform.links, **{header: value}).accepted
    assert isinstance(refusal, Refusal)
    assert refusal.status == status
    assert (platform.links.describe(), platform.counts) == ([], [])


async def test_both_sides_say_hello(platform: Platform) -> None:
    """The gateway says who it is at once; a logic that has said so gets a snapshot of the counts."""
    logic = Logic(platform.links, authorization=f"bearer  {TOKEN} ")
    assert logic.heard() == [ME]
    assert logic.link.instance == 0
    logic.says(LOGIC)
    assert logic.heard() == [Counts(True, True, 1, (("42", 1),))]
    assert logic.link.instance == 7
    logic.says(Hello(8, "another"))
    assert logic.link.instance == 7, "a link has one peer"
    assert platform.links.describe() == [{"logic": "logic-a", "received": 0, "queued_bytes": 0}]
    assert repr(logic.link) == "<Link peer=Hello(instance=7, name='logic-a') received=0>"


async def test_pushes_are_taken_and_acknowledged(platform: Platform) -> None:
    """Pushes of every kind are counted, one Ack a chunk says how many came since the link opened."""
    logic = Logic(platform.links)
    logic.says(LOGIC)
    logic.heard()
    logic.says(push("42", 1), broadcast(1, b'"all"'), user_push("nobody", 2, b"1"), Unknown(99))
    assert logic.heard() == [Ack(3)]
    logic.says(push("42", 2))
    logic.says(Totals(5, ()))
    assert logic.heard() == [Ack(4)]
    assert await platform.viewer.items(3) == ["all", 1, 2]
    assert platform.gateway.counters.pushes_received == {"http2": 4}
    assert platform.gateway.presence.platform_connections == 5


async def test_envelopes_in_pieces(platform: Platform) -> None:
    """Frame borders mean nothing: a push is taken with its last byte."""
    logic = Logic(platform.links)
    logic.heard()
    raw = encode(push("42", 1))
    for position in range(len(raw)):
        assert logic.heard() == []
        logic.link.stream_data(raw[position : position + 1])
    assert logic.heard() == [Ack(1)]


@pytest.mark.parametrize("raw", [b"\xff\xff\xff\xff", b"\0\0\0\2\2\1", b"\0\0\0\3\1\1\0"])
async def test_a_broken_envelope_resets_the_link(platform: Platform, raw: bytes) -> None:
    """A logic that breaks the protocol is cut off; what came whole before it counts."""
    logic = Logic(platform.links)
    logic.link.stream_data(encode(push("42", 1)) + raw)
    assert logic.wire.resets == [ErrorCodes.PROTOCOL_ERROR]
    logic.link.stream_lost("reset")
    assert platform.counts == [1, 0]


async def test_viewers_messages_go_up_and_answers_come_down(platform: Platform) -> None:
    """A SEND becomes a Submit; the result that comes down becomes the viewer's ACK."""
    logic = Logic(platform.links)
    logic.says(LOGIC)
    logic.heard()
    platform.viewer.say("SEND", room="42", ref="a", data={"text": "x"})
    (submit,) = logic.heard()
    assert isinstance(submit, Submit)
    assert (submit.room, submit.data) == ("42", b'{"text": "x"}')
    logic.says(SubmitResult(submit.ref, 1007))
    assert await platform.viewer.hear() == ("ACK", {"ref": "a", "seq": 1007})


async def test_what_a_lost_link_left_goes_to_another(platform: Platform) -> None:
    """When a logic is gone its unanswered messages and the sending of totals go to the next one."""
    first, second = Logic(platform.links), Logic(platform.links)
    first.says(LOGIC)
    second.says(Hello(8, "logic-b"))
    platform.viewer.say("SEND", room="42", data={"text": "x"})
    taken = [logic for logic in (first, second) if any(isinstance(item, Submit) for item in logic.heard())]
    assert len(taken) == 1
    lost = taken[0]
    other = second if lost is first else first
    lost.link.stream_lost("gone")
    heard = other.heard()
    assert any(isinstance(item, Submit) for item in heard)
    assert platform.counts == [1, 2, 1]
    other.link.stream_ended()
    assert other.stream.ending


async def test_a_link_that_never_said_hello_gets_no_messages(platform: Platform) -> None:
    """Before its Hello a link is no logic: nothing of viewers goes there, and losing it harms nobody."""
    logic = Logic(platform.links)
    platform.viewer.say("SEND", room="42", data={"text": "x"})
    assert (await platform.viewer.hear())[1]["code"] == "unavailable"
    assert logic.heard() == [ME]
    logic.link.stream_lost("gone")
    assert platform.links.describe() == []
