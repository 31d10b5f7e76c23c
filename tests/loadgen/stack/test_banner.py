"""What a person reads when the stack is up."""

import json
import shlex
from pathlib import Path

from loadgen.stack.banner import banner, not_ready
from loadgen.stack.plan import Secrets, StackOptions, laptop_gateways, laptop_logic
from loadgen.stack.redis import ExternalRedis, RedisBinary

OPTIONS = StackOptions("redis://:hidden@db/0", Secrets("api-key", "link-token"), laptop_gateways(2), (laptop_logic(),))


def test_every_page_is_named() -> None:
    """There is a page for each gateway."""
    text = banner(OPTIONS, RedisBinary(Path("/usr/bin/redis-server")))
    assert "http://localhost:8000/?room=live\n" in text
    assert "http://localhost:8010/?room=live\n" in text
    assert "/usr/bin/redis-server" in text


def test_the_curl_line_is_one_valid_command() -> None:
    """The line to paste is one shell command with the key, a JSON body and the push API's address."""
    (line,) = [line for line in banner(OPTIONS, ExternalRedis("redis://db")).splitlines() if line.startswith("curl")]
    words = shlex.split(line)
    assert "Authorization: Bearer api-key" in words
    assert json.loads(words[words.index("-d") + 1])["data"]["type"] == "danmaku"
    assert words[-1] == "http://localhost:8100/v1/rooms/live/messages"


def test_other_secrets_are_not_shown() -> None:
    """Only the development key is for people."""
    text = banner(OPTIONS, ExternalRedis(OPTIONS.redis_url))
    assert "link-token" not in text
    assert "hidden" not in text


def test_parts_that_are_late_are_named_with_their_answer() -> None:
    """A stack that does not become ready says what is missing."""
    assert "    gateway-1: no redis\n" in not_ready({"gateway-1": "no redis"}, 60)
