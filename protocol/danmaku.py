"""The danmaku schema: what the demo, the clients and viewers' own messages use. Other JSON passes untouched."""

from typing import Annotated, Literal

import msgspec

from protocol.limits import NAME_MAX_CHARS

Role = Literal["viewer", "member", "moderator", "host"]
Mode = Literal["scroll", "top", "bottom"]
Color = Annotated[str, msgspec.Meta(pattern=r"^#[0-9a-fA-F]{6}$")]
Size = Annotated[int, msgspec.Meta(ge=12, le=64)]


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a danmaku. The platform fills it in; what a viewer claims about itself is never trusted."""

    id: str
    name: str = ""
    role: Role = "viewer"
    level: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0


class Nickname(msgspec.Struct, frozen=True, kw_only=True):
    """The only thing an anonymous viewer may say about itself."""

    name: Annotated[str, msgspec.Meta(max_length=NAME_MAX_CHARS)] = ""


class Danmaku(msgspec.Struct, frozen=True, kw_only=True):
    """A bullet comment as viewers receive it."""

    type: Literal["danmaku"] = "danmaku"
    text: str
    mode: Mode = "scroll"
    color: Color = "#ffffff"
    size: Size = 25
    user: Sender


class DanmakuDraft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bullet comment as a viewer sends it: no identity but a nickname."""

    text: Annotated[str, msgspec.Meta(min_length=1)]
    type: Literal["danmaku"] = "danmaku"
    mode: Mode = "scroll"
    color: Color = "#ffffff"
    size: Size = 25
    user: Nickname = Nickname()
