"""The calls that look: rooms, gateways, counters."""

from typing import Final

import msgspec
from aiohttp import web

from logic.api.intake import JSON
from logic.api.keys import KeyRing, Scope, check_scope
from logic.api.problems import Problem
from logic.api.schemas import GatewayList, GatewayOut, RoomList, RoomOut, RoomSummary
from logic.model import Overview
from protocol.codes import ErrorCode
from protocol.names import parse_room

TOP_DEFAULT: Final = 20
TOP_MAX: Final = 1_000
"""Rooms in one answer: more is a job for the metrics."""

_ENCODE: Final = msgspec.json.Encoder().encode


class ReadCalls:
    """Handlers; each needs the scope `read`."""

    def __init__(self, overview: Overview, keys: KeyRing) -> None:
        self._overview = overview
        self._keys = keys

    async def rooms(self, request: web.Request) -> web.Response:
        """GET /v1/rooms?top=20."""
        self._admit(request)
        rooms = self._overview.top_rooms(_top(request))
        return _json(RoomList([RoomSummary(info.room, info.online) for info in rooms]))

    async def room(self, request: web.Request) -> web.Response:
        """GET /v1/rooms/{room}."""
        self._admit(request)
        info = await self._overview.room(parse_room(request.match_info["room"]))
        return _json(RoomOut(info.room, info.online, info.seq, info.epoch))

    async def gateways(self, request: web.Request) -> web.Response:
        """GET /v1/gateways."""
        self._admit(request)
        return _json(
            GatewayList(
                [
                    GatewayOut(info.name, info.address, info.connected, info.connections, info.rooms, info.queued_bytes)
                    for info in self._overview.gateways()
                ]
            )
        )

    async def stats(self, request: web.Request) -> web.Response:
        """GET /v1/stats."""
        self._admit(request)
        return _json(self._overview.stats())

    def _admit(self, request: web.Request) -> None:
        check_scope(self._keys.authenticate(request.headers.get("Authorization")), Scope.READ)


def _top(request: web.Request) -> int:
    text = request.query.get("top", str(TOP_DEFAULT))
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= TOP_MAX):
        raise Problem(ErrorCode.FIELD_INVALID, f"top: must be a number from 1 to {TOP_MAX}", field="top")
    return int(text)


def _json(value: object) -> web.Response:
    return web.Response(body=_ENCODE(value), content_type=JSON)
