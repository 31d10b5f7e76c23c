"""Long-lived byte streams over HTTP/2: an asyncio shell around the h2 library, for both ends."""

from runtime.http2.client import open_stream
from runtime.http2.errors import ConnectFailed, StreamRefused
from runtime.http2.limits import Http2Limits
from runtime.http2.server import Http2Server
from runtime.http2.stream import Refusal, Stream, StreamHandler

__all__ = [
    "ConnectFailed",
    "Http2Limits",
    "Http2Server",
    "Refusal",
    "Stream",
    "StreamHandler",
    "StreamRefused",
    "open_stream",
]
