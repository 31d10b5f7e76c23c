"""A key that may push only so fast."""

import json

import pytest

from logic.api.keys import ApiKey, KeyRing
from logic.api.problems import Problem
from tests.logic.api.conftest import SLOW_KEY, Api, bearer

SLOW = bearer(SLOW_KEY)
BODY = {"data": 1}


def test_a_ring_counts_each_key_for_itself() -> None:
    """One second's worth may come at once, then one push per 1/rate; a key without a rate is never refused."""
    now = [0.0]
    slow, free = ApiKey.of("slow", "0123456789abcdef", pushes_per_second=2), ApiKey.of("free", "fedcba9876543210")
    ring = KeyRing([slow, free], lambda: now[0])
    ring.charge(slow)
    ring.charge(slow)
    for _ in range(1_000):
        ring.charge(free)
    with pytest.raises(Problem) as refused:
        ring.charge(slow)
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    now[0] = 0.5
    ring.charge(slow)


async def test_a_push_over_the_rate_is_429(api: Api) -> None:
    """The answer names the key and its rate and says when to come back; nothing was published."""
    async with api.session.post(f"{api.url}/v1/rooms/42/messages", json=BODY, headers=SLOW) as response:
        assert response.status == 200
    async with api.session.post(f"{api.url}/v1/rooms/42/messages", json=BODY, headers=SLOW) as response:
        problem = await response.json(content_type=None)
        assert (response.status, response.headers["Retry-After"]) == (429, "10")
    assert problem["code"] == "rate_limited"
    assert "'slow'" in problem["detail"]
    assert "0.1 times a second" in problem["detail"]
    assert len(api.publishing.pushes) == 1


async def test_a_bulk_line_over_the_rate_is_refused_by_itself(api: Api) -> None:
    """A line over the rate gets the problem as its result, and the stream goes on."""
    lines = b'{"room":"42","data":1}\n' * 3
    headers = {**SLOW, "Content-Type": "application/x-ndjson"}
    async with api.session.post(f"{api.url}/v1/publish", data=lines, headers=headers) as response:
        results = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [result.get("accepted") for result in results] == [1, None, None]
    assert [result["error"]["code"] for result in results[1:]] == ["rate_limited"] * 2
