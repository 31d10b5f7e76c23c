"""The one seam where viewers' own danmaku are judged before they are published.

Whoever moderates implements `Moderator` and hands it to `LogicService`; nothing else changes.
"""

from dataclasses import dataclass
from typing import Protocol

from protocol.codes import ErrorCode
from protocol.danmaku import Danmaku
from protocol.names import Room


@dataclass(frozen=True, slots=True)
class Submission:
    """A danmaku that a viewer wants published, complete as the others would see it.

    `danmaku.user` is who the platform says it is; when not `authenticated`, the name is the viewer's own claim.
    """

    room: Room
    danmaku: Danmaku
    authenticated: bool


@dataclass(frozen=True, slots=True)
class Allow:
    """Publish it as it is."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Do not publish it; the viewer is told the code and the message."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Publish this instead, for example with a word blanked; the viewer is told nothing of it."""

    danmaku: Danmaku


Verdict = Allow | Reject | Replace


class Moderator(Protocol):
    """Judges submissions. Called many times concurrently; the viewer waits meanwhile."""

    async def review(self, submission: Submission) -> Verdict:
        """Return the verdict. An exception publishes nothing, and tells the viewer that the fault is ours."""


class AllowAll:
    """The moderator of a platform without moderation."""

    async def review(self, submission: Submission) -> Verdict:
        """Allow."""
        return Allow()
