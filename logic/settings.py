"""The settings of a logic."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from k8s.peers import split_address
from logic.api.keys import ApiKeySetting, KeyRing
from protocol.limits import DANMAKU_MAX_CHARS
from runtime.settings import CommaSeparated, Port, ProcessSettings

TOKEN_MIN_CHARS = 16
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def _words(value: object) -> object:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


Paths = Annotated[tuple[Literal["http2", "redis"], ...], NoDecode, BeforeValidator(_words)]


class LogicSettings(ProcessSettings):
    """See each field. The link token and the API keys have no default: nobody runs with a secret that is published."""

    model_config = SettingsConfigDict(env_prefix="LOGIC_")

    host: str = Field("127.0.0.1", description="address of the push API")
    port: Port = Field(8100, description="port of the push API")
    ops_port: Port = Field(8102, description="operations port: /livez /readyz /metrics /stats")
    name: str = Field("logic", max_length=64, description="what gateways call this process in their logs")
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="redis://, rediss:// or unix://; may hold a password"
    )
    paths: Paths = Field(
        ("http2", "redis"), min_length=1, description="how pushes reach gateways: http2, redis, or both with a comma"
    )
    link_token: SecretStr = Field(
        min_length=TOKEN_MIN_CHARS, description="secret that gateways ask of a logic; 16 characters or more"
    )
    gateways: CommaSeparated = Field(
        (), description="link addresses host:port,… of the gateways; empty: follow the registry in Redis"
    )
    push_ack_timeout_s: float = Field(
        1.0, gt=0, le=30, description="how long a push waits for gateways to say that they have it"
    )
    link_queue_bytes: int = Field(
        8 * 1024 * 1024, ge=4 * 1024 * 1024, description="what may wait for one gateway; more is not sent to it"
    )
    api_keys: tuple[ApiKeySetting, ...] = Field(
        min_length=1, description='JSON: [{"name": "shop", "key": "…", "scopes": ["publish"]}]'
    )
    loopback_without_key: bool = Field(False, description="let callers on this machine use /push/* without a key")
    send_requires_auth: bool = Field(True, description="take viewers' own messages from authenticated viewers only")
    send_max_text: int = Field(
        DANMAKU_MAX_CHARS, ge=1, le=2000, description="characters a viewer's own message may have"
    )

    @field_validator("gateways")
    @classmethod
    def _addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            split_address(address)
        return addresses

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(REDIS_SCHEMES):
            raise ValueError(f"must begin with one of {', '.join(REDIS_SCHEMES)}")
        return url

    @field_validator("paths")
    @classmethod
    def _each_once(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(paths)) != len(paths):
            raise ValueError("names a path twice")
        return paths

    @model_validator(mode="after")
    def _distinct_keys(self) -> Self:
        KeyRing([setting.to_key() for setting in self.api_keys])
        return self
