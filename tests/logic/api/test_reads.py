"""The calls that look."""

import pytest

from tests.logic.api.conftest import READ_KEY, Api, bearer
from tests.logic.api.memory import EPOCH, unavailable

READ = bearer(READ_KEY)
BUSIEST = [{"room": "42", "online": 30}, {"room": "7", "online": 20}, {"room": "a/b", "online": 10}]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/rooms", {"rooms": BUSIEST}),
        ("/v1/rooms?top=2", {"rooms": BUSIEST[:2]}),
        ("/v1/rooms?top=1000&other=x", {"rooms": BUSIEST}),
        ("/v1/rooms/42", {"room": "42", "online": 30, "seq": 7, "epoch": EPOCH}),
        ("/v1/rooms/nobody", {"room": "nobody", "online": 0, "seq": 0, "epoch": 0}),
        ("/v1/rooms/a%2Fb", {"room": "a/b", "online": 10, "seq": 0, "epoch": 0}),
        (
            "/v1/gateways",
            {
                "gateways": [
                    {
                        "name": "gw-1",
                        "address": "127.0.0.1:8001",
                        "connected": True,
                        "connections": 60,
                        "rooms": 3,
                        "queued_bytes": 0,
                    }
                ]
            },
        ),
        ("/v1/stats", {"pushes": 12}),
    ],
)
async def test_what_can_be_seen(api: Api, path: str, expected: object) -> None:
    """Each call shows what the overview knows, to a key with the scope `read`."""
    async with api.session.get(api.url + path, headers=READ) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert await answer.json() == expected


async def test_a_room_while_redis_is_away(api: Api) -> None:
    """A room's position cannot be told without Redis: 503 and when to come back."""
    api.overview.failure = unavailable()
    async with api.session.get(f"{api.url}/v1/rooms/42", headers=READ) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
