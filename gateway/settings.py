"""The gateway's settings."""

import os
import socket
from typing import Annotated, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from gateway.sweep import SWEEP_S
from protocol.limits import OUTBOX_MAX_BYTES
from runtime.settings import Port, ProcessSettings

TickMs = Annotated[int, Field(ge=50, le=60_000)]


class GatewaySettings(ProcessSettings):
    """Everything an operator can say about a gateway. Environment names start with GATEWAY_."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    name: str = Field(
        "", max_length=128, description="name in logs, /stats and the registry (default: host and process)"
    )
    host: str = Field("0.0.0.0", description="address of the client port")  # noqa: S104 - viewers come from anywhere
    port: Port = Field(8000, description="client port: WebSocket at /ws and /connect, pages at /")
    link_host: str = Field("127.0.0.1", description="address of the link port, where logics connect")
    link_port: Port = Field(8001, description="link port (HTTP/2, prior knowledge)")
    link_address: str = Field("", description="host:port announced to logics (default: link_host:link_port)")
    link_token: SecretStr = Field(
        min_length=16, description="secret that logics present on the link; the same on every tier"
    )
    ops_port: Port = Field(8002, description="operations port: /livez /readyz /metrics /stats")
    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="where Redis is")
    subscribe: bool = Field(True, description="receive pushes over Redis pub/sub")
    announce: bool = Field(True, description="announce this gateway in Redis to the logics")
    anonymous: bool = Field(False, description="let viewers without a token join rooms")
    jwt_secret: SecretStr | None = Field(
        None, min_length=32, description="shared secret of viewers' tokens (HS256, HS384, HS512)"
    )
    jwt_public_key: str | None = Field(None, description="PEM public key of viewers' tokens (RS, PS, ES, EdDSA)")
    tick_ms: TickMs = Field(1_000, description="one frame per room in this many milliseconds")
    buckets: int = Field(128, ge=1, le=4096, description="stripes of connections, each with its lock")
    fanout_threads: int = Field(2, ge=0, le=64, description="threads that write frames; 0 writes on the event loop")
    outbox_bytes: int = Field(
        OUTBOX_MAX_BYTES, ge=16_384, description="bytes queued for a viewer that reads too slowly"
    )
    idle_seconds: float = Field(60.0, ge=1, le=3600, description="silence after which a connection is closed")
    ping_seconds: float = Field(25.0, ge=0.5, le=3600, description="silence after which a connection is pinged")
    stuck_seconds: float = Field(
        30.0, ge=1, le=3600, description="how long a socket may take nothing that waits for it"
    )
    handshake_seconds: float = Field(10.0, ge=0.5, le=60, description="time from accept to a complete request head")
    drain_seconds: float = Field(5.0, ge=0, le=3600, description="window over which viewers are sent away on SIGTERM")
    stop_seconds: float = Field(15.0, gt=0, le=3600, description="deadline for drain and stop together")

    @field_validator("jwt_public_key")
    @classmethod
    def _readable_key(cls, key: str | None) -> str | None:
        if key is not None:
            try:
                load_pem_public_key(key.encode())
            except (ValueError, UnsupportedAlgorithm) as error:
                raise ValueError("is not a public key in PEM form") from error
        return key

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.stop_seconds <= self.drain_seconds:
            raise ValueError(
                f"stop_seconds ({self.stop_seconds:g}) must be more than drain_seconds ({self.drain_seconds:g})"
            )
        if self.idle_seconds <= self.ping_seconds + SWEEP_S:
            raise ValueError(
                f"idle_seconds ({self.idle_seconds:g}) must be more than ping_seconds ({self.ping_seconds:g}) and "
                f"the {SWEEP_S:g} s between two looks at a connection"
            )
        if not (self.anonymous or self.jwt_secret or self.jwt_public_key):
            raise ValueError("nobody could join: set jwt_secret or jwt_public_key, or allow anonymous viewers")
        return self

    @property
    def effective_name(self) -> str:
        """The name that was set, or one made of host and process."""
        return self.name or f"{socket.gethostname()}-{os.getpid()}"
