"""Every size and time of the HTTP/2 shell, with its reason."""

from __future__ import annotations

from dataclasses import dataclass

# What a peer may send on one stream before we return credit. It must cover what is in flight during one
# round trip and one pause of the receiving process: at 20,000 messages/s of 400 bytes that is 8 MB/s, so
# 4 MiB is half a second. It is also what a peer that stops reading makes us hold, per stream.
STREAM_WINDOW_BYTES = 4 * 1024 * 1024
# The same for the whole connection: room for a second stream, so that one whose reader is paused does not
# stop the other.
CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024
# Credit is returned to h2 in lumps of this size (h2 itself sends WINDOW_UPDATE only at half a window): a
# call per frame would cost as much as the frame. Small against the window, so that what several streams
# hold back never adds up to a connection that stalls.
CREDIT_BYTES = 64 * 1024
# The largest DATA frame we accept. The default of 16 KiB would cost four times the per-frame work in bulk;
# larger would let one stream keep the connection for too long.
FRAME_BYTES = 64 * 1024
# How much is handed to the socket before looking whether it still takes any.
FLUSH_BYTES = 256 * 1024
# What may wait in the transport: enough to keep the kernel busy until the loop comes round.
SOCKET_BUFFER_BYTES = 256 * 1024
# Above SOCKET_BUFFER_BYTES only answers to the peer's own control frames are added. A peer that asks for so
# many answers without reading any is attacking.
CONTROL_BYTES = 1024 * 1024
# Streams that a peer may open and reset on one connection (the "rapid reset" attack opens thousands).
RESETS = 100


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """What a server grants its peers. Counts, bytes and seconds."""

    max_connections: int = 1024
    # Per connection. Ours open one; the rest is for other clients and tests.
    max_streams: int = 16
    # Names, values and 32 bytes a field (RFC 9113, section 6.5.2); tokens are the longest that we expect.
    max_header_bytes: int = 16 * 1024
    # From accept to the peer's first SETTINGS, TLS included.
    handshake_s: float = 10.0
    # A silent connection is pinged after this long, and given up after twice as long.
    keepalive_s: float = 5.0


DEFAULT_LIMITS = Http2Limits()
