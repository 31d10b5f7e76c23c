"""Viewers' own messages on their way up to a logic, and the answers on their way back. Event loop only.

Each message goes to one logic, the same one for a room as long as it is there, so that what a viewer sends keeps its
order. When that logic's link is lost, what it had not answered goes to another one; logic publishes a resent message
once (it is keyed by this gateway's instance and the message's ref).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from zlib import crc32

from protocol.codes import ErrorCode
from protocol.envelope import Submit, SubmitResult

ANSWER_TIMEOUT_S: Final = 5.0
"""After this the viewer is told that nothing took its message."""

PENDING_MAX: Final = 10_000
"""Unanswered messages of all viewers together; more are refused at once."""

Answer = Callable[[SubmitResult], None]


class UpLink(Protocol):
    """One logic that is connected to this gateway."""

    @property
    def instance(self) -> int:
        """The logic's instance number."""

    def send_submit(self, submit: Submit) -> None:
        """Send a viewer's message up."""


@dataclass(slots=True)
class _Pending:
    submit: Submit
    answer: Answer
    link: UpLink
    deadline: float


class Upstream:
    """The messages that wait for an answer, oldest first."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._links: list[UpLink] = []
        self._pending: dict[int, _Pending] = {}
        self._last_ref = 0

    def __repr__(self) -> str:
        return f"<Upstream links={len(self._links)} pending={len(self._pending)}>"

    def add_link(self, link: UpLink) -> None:
        """Use a logic that has connected."""
        self._links.append(link)
        self._links.sort(key=lambda item: item.instance)

    def remove_link(self, link: UpLink) -> None:
        """Send what a lost logic has not answered to another one."""
        if link not in self._links:
            return
        self._links.remove(link)
        for ref, pending in list(self._pending.items()):
            if pending.link is link:
                self._send(ref, pending)

    def submit(self, room: str, identity: bytes, data: bytes, answer: Answer) -> None:
        """Send a message up; `answer` is called once, within 5 s."""
        if not self._links or len(self._pending) >= PENDING_MAX:
            answer(_unavailable(0))
            return
        self._last_ref += 1
        ref = self._last_ref
        submit = Submit(ref, room, identity, data)
        pending = _Pending(submit, answer, self._links[0], self._now() + ANSWER_TIMEOUT_S)
        self._pending[ref] = pending
        self._send(ref, pending)

    def resolve(self, result: SubmitResult) -> None:
        """Hand an answer to whoever waits for it; one that comes a second time is ignored."""
        pending = self._pending.pop(result.ref, None)
        if pending is not None:
            pending.answer(result)

    def expire(self) -> None:
        """Answer what has waited for too long."""
        now = self._now()
        for ref, pending in list(self._pending.items()):
            if pending.deadline > now:
                break
            self.resolve(_unavailable(ref))

    def _send(self, ref: int, pending: _Pending) -> None:
        if not self._links:
            self.resolve(_unavailable(ref))
            return
        # Rendezvous hashing: a logic that comes or goes moves its own share of the rooms and no others.
        room = pending.submit.room
        pending.link = max(self._links, key=lambda link: crc32(f"{link.instance:x}/{room}".encode()))
        pending.link.send_submit(pending.submit)


def _unavailable(ref: int) -> SubmitResult:
    return SubmitResult(ref, 0, ErrorCode.UNAVAILABLE, "SEND: nothing could take the message now, try again")
