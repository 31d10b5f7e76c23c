"""What an operator may choose about the push API."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """Choices with their defaults.

    `loopback_without_key` lets callers on this machine use `/push/all` and `/push/room` without a key: for a laptop.
    `body_timeout_s` is how long a request's body may take (a bulk stream's may take for ever): a slow phone sends
    1 MiB in 10 s.
    The two bulk bounds are what one `/v1/publish` stream may have accepted and not yet answered; beyond either of
    them its socket is not read. A thousand lines of ten messages keep any Redis round trip filled.
    """

    version: str = "0"
    loopback_without_key: bool = False
    body_timeout_s: float = 30.0
    bulk_messages_in_flight: int = 10_000
    bulk_bytes_in_flight: int = 4 * 1024 * 1024
