"""A viewer's own danmaku goes up the link, through logic's rules, and out to everybody in the room."""

from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.system.platform import Platform, make_options, running_platform

pytestmark = pytest.mark.system

SECRET = "a shared secret of more than thirty-two bytes"


def token(**claims: Any) -> str:
    """Sign a viewer's token."""
    return jwt.encode({"sub": "7", "name": "小明", "role": "member", "level": 3, **claims}, SECRET, "HS256")


async def test_a_viewers_message_reaches_the_others_with_its_identity(redis_url: str, tmp_path: Path) -> None:
    """SEND is answered with its sequence; viewers on the other gateway see the sender that the token names."""
    env = {f"gateway-{number}": {"GATEWAY_JWT_SECRET": SECRET} for number in (1, 2)}
    env["logic"] = {"LOGIC_SEND_REQUIRES_AUTH": "true"}
    async with running_platform(make_options(redis_url, env=env), tmp_path) as platform:
        sender, other = await platform.viewer(0, f"?token={token()}"), await platform.viewer(1)
        await sender.join("live")
        await other.join("live")
        forged = {"type": "danmaku", "text": "前排!", "color": "#ff0000", "user": {"id": "1", "name": "host"}}
        await sender.send("SEND", room="live", ref="m1", data=forged)
        ack = await sender.receive("ACK", "ERROR")
        assert ack == {"ref": "m1", "seq": 1}
        for viewer in (sender, other):
            (item,) = await viewer.items(1)
            assert item["text"] == "前排!"
            assert item["color"] == "#ff0000"
            assert item["user"] == {"id": "7", "name": "小明", "role": "member", "level": 3}
        await other.send("SEND", room="live", ref=2, data={"text": "me too"})
        refused = await other.receive("ACK", "ERROR")
        assert (refused["code"], refused["ref"]) == ("unauthenticated", 2)


async def test_auth_gives_an_open_connection_its_identity(redis_url: str, tmp_path: Path) -> None:
    """AUTH answers with the user; a wrong token is answered with ERROR and the connection stays as it was."""
    env = {"gateway-1": {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_ANONYMOUS": "false"}}
    async with running_platform(make_options(redis_url, gateways=1, env=env), tmp_path) as platform:
        viewer = await platform.viewer(0)
        await viewer.send("JOIN", room="live", ref=1)
        assert (await viewer.receive("ERROR", "JOINED"))["code"] == "unauthenticated"
        await viewer.send("AUTH", token=token()[:-2] + "xx", ref=2)
        assert (await viewer.receive("ERROR", "ACK"))["code"] == "token_invalid"
        await viewer.send("AUTH", token=token(), ref=3)
        assert (await viewer.receive("ERROR", "ACK")) == {
            "ref": 3,
            "user": {"id": "7", "name": "小明", "role": "member"},
        }
        await viewer.join("live")
        status, _ = await platform.call("POST", "/v1/users/7/messages", {"data": {"type": "notice", "text": "hi"}})
        assert status == 200
        assert await viewer.receive("PUSH") == {"to": "user", "items": [{"type": "notice", "text": "hi"}]}


async def test_a_guests_message_has_a_nickname_and_limits(platform: Platform) -> None:
    """An anonymous viewer may choose a name only; too long a text and too fast a hand are refused by name."""
    guest, other = await platform.viewer(0), await platform.viewer(1)
    await guest.join("live")
    await other.join("live")
    await guest.send("SEND", room="live", ref=1, data={"text": "hi", "user": {"id": "7", "name": "路人"}})
    await guest.receive("ACK")
    (item,) = await other.items(1)
    assert item["user"]["name"] == "路人"
    assert item["user"]["id"].startswith("guest:")
    assert item["user"]["role"] == "viewer"
    await guest.send("SEND", room="live", ref=2, data={"text": "长" * 101})
    error = await guest.receive("ERROR", "ACK")
    assert (error["code"], error["ref"]) == ("text_too_long", 2)
    assert "100" in error["message"]
    await guest.send("SEND", room="live", ref=3, data={"text": "fast"})
    error = await guest.receive("ERROR", "ACK")
    assert (error["code"], error["ref"]) == ("rate_limited", 3)


async def test_without_a_logic_the_viewer_is_told(redis_url: str, tmp_path: Path) -> None:
    """When no logic is connected SEND is answered with `unavailable`, not with silence."""
    async with running_platform(make_options(redis_url, gateways=1), tmp_path) as platform:
        viewer = await platform.viewer(0)
        await viewer.join("live")
        await platform.group.stop("logic")
        await platform.until(0, lambda stats: stats["links"] == [])
        await viewer.send("SEND", room="live", ref=9, data={"text": "anybody?"})
        assert (await viewer.receive("ERROR", "ACK"))["code"] == "unavailable"
