"""Viewers' own danmaku: the rules, the sender's identity, moderation, resends."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from logic.metrics import Tally
from logic.model import DirectPushRequest, Publishing, Receipt, RoomPushRequest, Unavailable
from logic.moderation import Allow, AllowAll, Moderator, Reject, Replace, Submission, Verdict
from logic.upstream import Refused, SendRules, Upstream, judge
from protocol.codes import ErrorCode
from protocol.danmaku import Danmaku, Sender
from protocol.envelope import Submit, SubmitResult, decode_block
from tests.logic.conftest import MakeGateway
from tests.logic.platform import Platform

MakePlatform = Callable[..., Awaitable[Platform]]

MEMBER = {"id": "7", "name": "李华", "role": "member", "level": 3, "authenticated": True}
GUEST = {"id": "guest:1", "authenticated": False}


def submit(
    data: object = None, *, identity: object = MEMBER, ref: int = 1, room: str = "r", raw: bytes | None = None
) -> Submit:
    """Return a submission as a gateway sends it."""
    draft = {"text": "前排!"} if data is None else data
    return Submit(ref, room, json.dumps(identity).encode(), json.dumps(draft).encode() if raw is None else raw)


def test_an_authenticated_viewer_is_who_the_token_says() -> None:
    """Name, role and level come from the identity; what the viewer claims about itself is ignored."""
    danmaku = judge(submit({"text": "hi", "user": {"name": "admin"}}), SendRules()).danmaku
    assert danmaku.user == Sender(id="7", name="李华", role="member", level=3)


def test_an_authenticated_viewer_without_a_name_gets_none() -> None:
    """A nickname does not stand in for the name that a token leaves out."""
    identity = {"id": "7", "authenticated": True}
    assert judge(
        submit({"text": "hi", "user": {"name": "admin"}}, identity=identity), SendRules()
    ).danmaku.user == Sender(id="7")


def test_an_anonymous_viewer_has_a_nickname_and_nothing_else() -> None:
    """Of an anonymous viewer only the nickname is taken, whatever its identity may contain."""
    boaster = {**GUEST, "name": "host", "role": "host", "level": 99}
    submission = judge(submit({"text": "hi", "user": {"name": "小明"}}, identity=boaster), SendRules())
    assert submission.danmaku.user == Sender(id="guest:1", name="小明", role="viewer", level=0)
    assert not submission.authenticated


def test_looks_are_the_viewers() -> None:
    """Mode, colour and size pass as sent, within the schema."""
    draft = {"text": "hi", "mode": "top", "color": "#FF0000", "size": 36}
    danmaku = judge(submit(draft), SendRules()).danmaku
    assert (danmaku.type, danmaku.text, danmaku.mode, danmaku.color, danmaku.size) == (
        "danmaku",
        "hi",
        "top",
        "#FF0000",
        36,
    )


RULES: list[tuple[str, Submit, SendRules, ErrorCode, str]] = [
    ("guest", submit(identity=GUEST), SendRules(requires_auth=True), ErrorCode.UNAUTHENTICATED, "AUTH"),
    ("room", submit(room="no room"), SendRules(), ErrorCode.ROOM_INVALID, "128"),
    ("long", submit({"text": "弹" * 101}), SendRules(), ErrorCode.TEXT_TOO_LONG, "101 characters, the limit is 100"),
    ("limit", submit({"text": "abc"}), SendRules(max_text=2), ErrorCode.TEXT_TOO_LONG, "limit is 2"),
    ("empty", submit({"text": ""}), SendRules(), ErrorCode.FIELD_INVALID, "text"),
    ("blank", submit({"text": " \n\t"}), SendRules(), ErrorCode.FIELD_INVALID, "data.text: must not be blank"),
    ("no text", submit({"mode": "top"}), SendRules(), ErrorCode.FIELD_INVALID, "text"),
    ("number", submit({"text": 5}), SendRules(), ErrorCode.FIELD_INVALID, "$.text"),
    ("unknown", submit({"text": "a", "admin": True}), SendRules(), ErrorCode.FIELD_INVALID, "admin"),
    ("role", submit({"text": "a", "user": {"name": 1}}), SendRules(), ErrorCode.FIELD_INVALID, "$.user.name"),
    ("nickname", submit({"text": "a", "user": {"name": "n" * 33}}), SendRules(), ErrorCode.FIELD_INVALID, "32"),
    ("colour", submit({"text": "a", "color": "red"}), SendRules(), ErrorCode.FIELD_INVALID, "$.color"),
    ("size", submit({"text": "a", "size": 500}), SendRules(), ErrorCode.FIELD_INVALID, "$.size"),
    ("type", submit({"text": "a", "type": "gift"}), SendRules(), ErrorCode.FIELD_INVALID, "$.type"),
    ("list", submit(["a"]), SendRules(), ErrorCode.FIELD_INVALID, "object"),
    ("not JSON", submit(raw=b"{"), SendRules(), ErrorCode.JSON_INVALID, "data"),
    ("not UTF-8", submit(raw=b'{"text":"\xff"}'), SendRules(), ErrorCode.JSON_INVALID, "data"),
    ("identity", submit(identity=[1]), SendRules(), ErrorCode.INTERNAL, "identity"),
]


@pytest.mark.parametrize(("case", "sent", "rules", "code", "says"), RULES, ids=[rule[0] for rule in RULES])
def test_what_breaks_a_rule_is_refused(case: str, sent: Submit, rules: SendRules, code: ErrorCode, says: str) -> None:
    """Each rule has its code, and a message that names the field and the limit."""
    with pytest.raises(Refused) as caught:
        judge(sent, rules)
    assert caught.value.code == code
    assert says in caught.value.message


def test_exactly_the_limit_passes() -> None:
    """The limit counts characters, not bytes, and is itself allowed."""
    assert len(judge(submit({"text": "弹" * 100}), SendRules()).danmaku.text) == 100


class Answers:
    """What a gateway is told."""

    def __init__(self) -> None:
        self.all: list[SubmitResult] = []
        self._more = asyncio.Event()

    def __call__(self, result: SubmitResult) -> None:
        self.all.append(result)
        self._more.set()

    async def count(self, number: int) -> list[SubmitResult]:
        """Wait for so many answers."""
        async with asyncio.timeout(10):
            while len(self.all) < number:
                self._more.clear()
                await self._more.wait()
        return self.all


class Judge:
    """A moderator with one verdict, which may wait for a signal."""

    def __init__(self, verdict: Verdict | Exception, gate: asyncio.Event | None = None) -> None:
        self.seen: list[Submission] = []
        self._verdict = verdict
        self._gate = gate

    async def review(self, submission: Submission) -> Verdict:
        self.seen.append(submission)
        if self._gate is not None:
            await self._gate.wait()
        if isinstance(self._verdict, Exception):
            raise self._verdict
        return self._verdict


def upstream(publishing: Publishing, moderator: Moderator | None = None, **rules: int) -> Upstream:
    """Return what takes submissions."""
    return Upstream(publishing, moderator or AllowAll(), SendRules(**rules), Tally())  # type: ignore[arg-type]


async def test_a_danmaku_is_published_and_answered(gateway: MakeGateway, platform: MakePlatform) -> None:
    """The viewer is told the sequence that the others see the danmaku under."""
    peer = await gateway()
    logic, answers = await platform(peer), Answers()
    subject = upstream(logic.publisher)
    for ref in (5, 6):
        subject.submit(77, submit({"text": f"n{ref}"}, ref=ref), answers)
    assert await answers.count(2) == [SubmitResult(5, 1), SubmitResult(6, 2)]
    sent = [json.loads(message.data) for push in peer.pushes() for message in decode_block(push.block, push.count)]
    assert [danmaku["text"] for danmaku in sent] == ["n5", "n6"]
    assert sent[0]["user"] == {"id": "7", "name": "李华", "role": "member", "level": 3}
    assert sent[0]["type"] == "danmaku"


async def test_a_resend_is_published_once(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A gateway that resends through another logic gets the first answer; another gateway's ref is its own."""
    peer = await gateway()
    logics, answers = [await platform(peer), await platform(peer)], Answers()
    for logic in logics:
        upstream(logic.publisher).submit(77, submit(ref=5), answers)
        await answers.count(len(answers.all) + 1)
    assert answers.all == [SubmitResult(5, 1), SubmitResult(5, 1)]
    upstream(logics[0].publisher).submit(78, submit(ref=5), answers)
    assert (await answers.count(3))[2] == SubmitResult(5, 2)


async def test_a_rejected_danmaku_is_not_published(gateway: MakeGateway, platform: MakePlatform) -> None:
    """The moderator's code and words reach the viewer, and nothing reaches the others."""
    peer = await gateway()
    logic, answers = await platform(peer), Answers()
    judge = Judge(Reject(ErrorCode.REJECTED, "not here"))
    upstream(logic.publisher, judge).submit(77, submit(), answers)
    assert await answers.count(1) == [SubmitResult(1, 0, "rejected", "not here")]
    assert (judge.seen[0].room, judge.seen[0].authenticated, judge.seen[0].danmaku.text) == ("r", True, "前排!")
    assert peer.pushes() == []


async def test_a_moderator_may_replace(gateway: MakeGateway, platform: MakePlatform) -> None:
    """What the moderator gives back is published instead."""
    peer = await gateway()
    logic, answers = await platform(peer), Answers()
    upstream(logic.publisher, Judge(Replace(Danmaku(text="***", user=Sender(id="7"))))).submit(77, submit(), answers)
    assert await answers.count(1) == [SubmitResult(1, 1)]
    (push,) = peer.pushes()
    assert json.loads(decode_block(push.block, 1)[0].data)["text"] == "***"


async def test_a_moderator_that_fails_publishes_nothing(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A fault of ours is called that, and keeps the danmaku from the others."""
    peer = await gateway()
    logic, answers = await platform(peer), Answers()
    upstream(logic.publisher, Judge(RuntimeError("boom"))).submit(77, submit(), answers)
    (answer,) = await answers.count(1)
    assert (answer.code, "boom" in answer.message) == (ErrorCode.INTERNAL, False)
    assert peer.pushes() == []


async def test_too_large_as_published_is_refused(platform: MakePlatform) -> None:
    """What would be over the limit of a message's data is refused with the limit."""
    logic, answers = await platform(), Answers()
    upstream(logic.publisher, max_text=10_000).submit(77, submit({"text": "弹" * 9_000}), answers)
    (answer,) = await answers.count(1)
    assert answer.code == ErrorCode.DATA_TOO_LARGE
    assert "16384" in answer.message


class Closed:
    """A publisher that takes nothing."""

    def submit(self, push: RoomPushRequest | DirectPushRequest) -> "asyncio.Future[Receipt]":
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        future.set_exception(Unavailable("Redis did not answer"))
        return future

    async def publish(self, push: RoomPushRequest | DirectPushRequest) -> Receipt:
        return await self.submit(push)


async def test_an_unavailable_publisher_is_said() -> None:
    """The viewer is told that nothing took the message, and why."""
    answers = Answers()
    upstream(Closed()).submit(77, submit(), answers)
    assert await answers.count(1) == [SubmitResult(1, 0, "unavailable", "Redis did not answer")]


async def test_work_is_bounded() -> None:
    """Beyond the bound a submission is refused at once, however long the moderator thinks."""
    gate, answers = asyncio.Event(), Answers()
    subject = upstream(Closed(), Judge(Allow(), gate), in_flight=3)
    for ref in range(1, 6):
        subject.submit(77, submit(ref=ref), answers)
    assert [(answer.ref, answer.code) for answer in answers.all] == [(4, "unavailable"), (5, "unavailable")]
    assert "3 messages" in answers.all[0].message
    gate.set()
    assert {answer.ref for answer in await answers.count(5)} == {1, 2, 3, 4, 5}


async def test_finish_answers_what_was_taken() -> None:
    """A leaving logic answers what it took, and leaves what comes after that to another logic."""
    gate, answers = asyncio.Event(), Answers()
    subject = upstream(Closed(), Judge(Allow(), gate))
    subject.submit(77, submit(ref=1), answers)
    finishing = asyncio.ensure_future(subject.finish())
    await asyncio.sleep(0)
    subject.submit(77, submit(ref=2), answers)
    gate.set()
    await finishing
    assert [answer.ref for answer in answers.all] == [1]


async def test_stop_waits_for_nobody() -> None:
    """A logic that has to stop gives up what a moderator still thinks about."""
    answers = Answers()
    subject = upstream(Closed(), Judge(Allow(), asyncio.Event()))
    subject.submit(77, submit(), answers)
    await asyncio.sleep(0)
    await subject.stop()
    assert answers.all == []
