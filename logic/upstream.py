"""Viewers' own danmaku: what comes up the links, is checked here, and published like any push."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from logic.metrics import Tally
from logic.model import Idempotency, IdempotencyConflict, Publishing, RoomPushRequest, Unavailable
from logic.moderation import Moderator, Reject, Replace, Submission
from protocol.codes import ErrorCode
from protocol.danmaku import Danmaku, DanmakuDraft, Role, Sender
from protocol.envelope import Submit, SubmitResult
from protocol.limits import DANMAKU_MAX_CHARS, DATA_MAX_BYTES
from protocol.message import Message
from protocol.names import NameInvalid, Room, parse_room
from runtime.logs import get_logger

OWNER: Final = "gateway"
"""Owner of the idempotency keys of viewers' messages."""

RESEND_LIFE_S: Final = 60
"""A gateway resends over another link within seconds, or not at all."""

_LOG: Final = get_logger("logic.upstream")
_ENCODE: Final = msgspec.json.Encoder().encode
Answer = Callable[[SubmitResult], object]


class Identity(msgspec.Struct, frozen=True):
    """Who the gateway says the viewer is. An anonymous viewer has an id for the length of its connection."""

    id: str
    name: str = ""
    role: Role = "viewer"
    level: int = 0
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class SendRules:
    """What viewers may send. `in_flight` bounds how many submissions are being worked on at once."""

    requires_auth: bool = False
    max_text: int = DANMAKU_MAX_CHARS
    in_flight: int = 2_000


class Refused(Exception):
    """A submission that is not published, with what the viewer is told."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


_IDENTITY: Final = msgspec.json.Decoder(Identity)
_DRAFT: Final = msgspec.json.Decoder(DanmakuDraft)


def judge(submit: Submit, rules: SendRules) -> Submission:
    """Return the danmaku as the others would see it; raise Refused when a rule forbids it. Pure."""
    room = _room(submit.room)
    identity = _identity(submit.identity)
    if rules.requires_auth and not identity.authenticated:
        raise Refused(ErrorCode.UNAUTHENTICATED, "sending needs AUTH first")
    draft = _draft(submit.data)
    if len(draft.text) > rules.max_text:
        raise Refused(
            ErrorCode.TEXT_TOO_LONG, f"data.text: has {len(draft.text)} characters, the limit is {rules.max_text}"
        )
    if not draft.text.strip():
        raise Refused(ErrorCode.FIELD_INVALID, "data.text: must not be blank")
    danmaku = Danmaku(
        text=draft.text, mode=draft.mode, color=draft.color, size=draft.size, user=_sender(identity, draft)
    )
    return Submission(room, danmaku, identity.authenticated)


def _room(name: str) -> Room:
    try:
        return parse_room(name)
    except NameInvalid as error:
        raise Refused(error.code, str(error)) from error


def _identity(raw: bytes) -> Identity:
    try:
        return _IDENTITY.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Not the viewer's doing: the tiers disagree.
        _LOG.error("identity from the gateway is malformed", reason=str(error))
        raise Refused(ErrorCode.INTERNAL, "the identity could not be read") from error


def _draft(raw: bytes) -> DanmakuDraft:
    try:
        return _DRAFT.decode(raw)
    except msgspec.ValidationError as error:
        raise Refused(ErrorCode.FIELD_INVALID, f"data: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(ErrorCode.JSON_INVALID, f"data: {error}") from error


def _sender(identity: Identity, draft: DanmakuDraft) -> Sender:
    """Say who sent it: the platform's word where it knows, the viewer's nickname and nothing else where not."""
    if identity.authenticated:
        return Sender(id=identity.id, name=identity.name, role=identity.role, level=max(0, min(identity.level, 999)))
    return Sender(id=identity.id, name=draft.user.name)


class Upstream:
    """Takes submissions, each in a task of its own because a moderator may take its time, and answers every one."""

    def __init__(self, publishing: Publishing, moderator: Moderator, rules: SendRules, tally: Tally) -> None:
        self._publishing = publishing
        self._moderator = moderator
        self._rules = rules
        self._tally = tally
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving = False

    def __repr__(self) -> str:
        return f"<Upstream in_flight={len(self._tasks)}>"

    def submit(self, gateway_instance: int, submit: Submit, answer: Answer) -> None:
        """Begin; `answer` is called once, now or later, also when the gateway's link is gone by then.

        After `finish` it is not called at all: the gateway resends what is unanswered when the link ends.
        """
        if self._leaving:
            return
        if len(self._tasks) >= self._rules.in_flight:
            self._tally.submissions_refused += 1
            text = f"{self._rules.in_flight} messages of viewers are being worked on"
            answer(SubmitResult(submit.ref, 0, ErrorCode.UNAVAILABLE, text))
            return
        task = asyncio.get_running_loop().create_task(self._serve(gateway_instance, submit, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Take no more, and wait until everything that was taken is answered."""
        self._leaving = True
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """Give up what is still being worked on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, gateway_instance: int, submit: Submit, answer: Answer) -> None:
        try:
            seq = await self._publish(gateway_instance, submit)
            self._tally.submissions_published += 1
            answer(SubmitResult(submit.ref, seq))
        except Refused as refused:
            self._tally.submissions_refused += 1
            answer(SubmitResult(submit.ref, 0, refused.code, refused.message))
        except Exception as error:
            _LOG.error("submission failed", room=submit.room, exc_info=error)
            self._tally.submissions_refused += 1
            answer(SubmitResult(submit.ref, 0, ErrorCode.INTERNAL, "a fault of ours; the log has it"))

    async def _publish(self, gateway_instance: int, submit: Submit) -> int:
        submission = judge(submit, self._rules)
        danmaku = submission.danmaku
        match await self._moderator.review(submission):
            case Reject(code=code, message=message):
                raise Refused(code, message)
            case Replace(danmaku=replacement):
                danmaku = replacement
        data = _ENCODE(danmaku)
        if len(data) > DATA_MAX_BYTES:
            raise Refused(
                ErrorCode.DATA_TOO_LARGE, f"data: has {len(data)} bytes as published, the limit is {DATA_MAX_BYTES}"
            )
        # Of what was submitted, not of what is published: a moderator may judge a resend differently.
        fingerprint = hashlib.blake2b(submit.identity + b"\n" + submit.data, digest_size=16).hexdigest()
        key = Idempotency(OWNER, f"{gateway_instance:x}:{submit.ref}", fingerprint, RESEND_LIFE_S)
        try:
            receipt = await self._publishing.publish(RoomPushRequest(submission.room, (Message(data),), key))
        except Unavailable as error:
            raise Refused(ErrorCode.UNAVAILABLE, str(error)) from error
        except IdempotencyConflict as error:
            raise Refused(ErrorCode.IDEMPOTENCY_CONFLICT, f"ref: {error}") from error
        return receipt.first_seq
