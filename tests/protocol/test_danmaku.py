"""The danmaku schema: what a viewer may send, and what viewers receive."""

import msgspec
import pytest

from protocol.danmaku import Danmaku, DanmakuDraft, Nickname, Sender
from protocol.limits import NAME_MAX_CHARS


def draft(text: str) -> DanmakuDraft:
    """Read a draft as logic does."""
    return msgspec.json.decode(text, type=DanmakuDraft)


def test_a_draft_needs_only_text() -> None:
    """Everything but the text has a default."""
    assert draft('{"text":"前排!"}') == DanmakuDraft(
        text="前排!", type="danmaku", mode="scroll", color="#ffffff", size=25, user=Nickname()
    )


def test_a_full_draft() -> None:
    """Every field of the schema that is the viewer's to choose is taken."""
    text = '{"type":"danmaku","text":"x","mode":"top","color":"#0aF9bC","size":64,"user":{"name":"弹弹"}}'
    assert draft(text) == DanmakuDraft(text="x", mode="top", color="#0aF9bC", size=64, user=Nickname(name="弹弹"))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", "text"),
        ('{"text":""}', "text"),
        ('{"text":1}', "text"),
        ('{"text":"x","mode":"left"}', "mode"),
        ('{"text":"x","color":"red"}', "color"),
        ('{"text":"x","color":"#12345"}', "color"),
        ('{"text":"x","color":"#1234567"}', "color"),
        ('{"text":"x","size":11}', "size"),
        ('{"text":"x","size":65}', "size"),
        ('{"text":"x","type":"gift"}', "type"),
        ('{"text":"x","price":1}', "price"),
        (f'{{"text":"x","user":{{"name":"{"n" * (NAME_MAX_CHARS + 1)}"}}}}', "user.name"),
    ],
)
def test_a_wrong_draft_is_refused(text: str, field: str) -> None:
    """A field outside the schema is refused, and the error names it."""
    with pytest.raises(msgspec.ValidationError, match=field):
        draft(text)


def test_a_viewer_cannot_claim_an_identity() -> None:
    """What a viewer says about itself beyond its name is dropped: role, level and id are the platform's to give."""
    claimed = draft('{"text":"x","user":{"name":"n","id":"1","role":"host","level":9}}')
    assert msgspec.to_builtins(claimed.user) == {"name": "n"}


def test_a_danmaku_as_it_is_sent() -> None:
    """A danmaku shows every field, so that clients need no defaults."""
    sent = Danmaku(text="x", user=Sender(id="7", name="n", role="member", level=3))
    assert msgspec.to_builtins(sent) == {
        "type": "danmaku",
        "text": "x",
        "mode": "scroll",
        "color": "#ffffff",
        "size": 25,
        "user": {"id": "7", "name": "n", "role": "member", "level": 3},
    }
    assert msgspec.convert(msgspec.to_builtins(sent), Danmaku) == sent
