"""API keys: who calls, and what they may do."""

import hashlib
import hmac
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from logic.api.problems import Problem
from protocol.codes import ErrorCode
from runtime.rate import TokenBucket

KEY_MIN_CHARS: Final = 16
"""Shorter keys can be guessed; 16 random characters hold 96 bits."""

KEY_MAX_CHARS: Final = 256
"""Longer than any real key, short enough for a header line."""

_VISIBLE: Final = re.compile(rf"[!-~]{{{KEY_MIN_CHARS},{KEY_MAX_CHARS}}}")
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="danmaku-push"'}


class Scope(StrEnum):
    """What a key may do: push to rooms, to everybody, to users; read the overview."""

    PUBLISH = "publish"
    BROADCAST = "broadcast"
    USER = "user"
    READ = "read"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: only a digest, so that neither a log line nor a core dump gives it away.

    `name` is the publisher's name in logs and owns its idempotency keys. Two keys may share a name: so a key is
    replaced without a gap. `pushes_per_second` is what one logic takes from it, None for any number.
    """

    name: str
    digest: bytes = field(repr=False)
    scopes: frozenset[Scope]
    pushes_per_second: float | None = None

    @classmethod
    def of(
        cls, name: str, key: str, scopes: Sequence[Scope] = tuple(Scope), pushes_per_second: float | None = None
    ) -> "ApiKey":
        """Make the kept form of a key; all scopes and no rate unless told."""
        return cls(name, _digest(key), frozenset(scopes), pushes_per_second)


class ApiKeySetting(BaseModel):
    """A key as an operator writes it: `{"name": "shop", "key": "…", "scopes": ["publish", "user"]}`.

    `pushes_per_second` is optional: what each logic takes from this key, with one second's worth at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    key: SecretStr
    scopes: tuple[Scope, ...] = Field(min_length=1)
    pushes_per_second: float | None = Field(default=None, ge=0.1, le=1_000_000)

    @field_validator("key")
    @classmethod
    def _printable(cls, key: SecretStr) -> SecretStr:
        if _VISIBLE.fullmatch(key.get_secret_value()) is None:
            raise ValueError(f"must be {KEY_MIN_CHARS} to {KEY_MAX_CHARS} visible ASCII characters without spaces")
        return key

    def to_key(self) -> ApiKey:
        """Return the kept form."""
        return ApiKey.of(self.name, self.key.get_secret_value(), self.scopes, self.pushes_per_second)


class KeyRing:
    """All keys that are let in."""

    def __init__(self, keys: Sequence[ApiKey], now: Callable[[], float] = time.monotonic) -> None:
        """Raise ValueError when two entries are the same key: their scopes would contradict each other."""
        if len({key.digest for key in keys}) != len(keys):
            raise ValueError("API keys: the same key is listed twice")
        self._keys = tuple(keys)
        self._now = now
        self._budgets = {
            key.digest: TokenBucket(now(), _burst(key.pushes_per_second)) for key in keys if key.pushes_per_second
        }

    def __repr__(self) -> str:
        return f"<KeyRing {sorted(key.name for key in self._keys)}>"

    def authenticate(self, authorization: str | None) -> ApiKey:
        """Return the key of an Authorization header (RFC 6750, section 2.1); raise Problem 401 otherwise."""
        if authorization is None:
            raise Problem(
                ErrorCode.UNAUTHENTICATED,
                "Authorization: send `Bearer <key>`",
                field="Authorization",
                headers=_CHALLENGE,
            )
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Problem(
                ErrorCode.UNAUTHENTICATED,
                "Authorization: the scheme must be Bearer",
                field="Authorization",
                headers=_CHALLENGE,
            )
        return self.find(token.strip(" "), "Authorization")

    def find(self, token: str, field: str) -> ApiKey:
        """Return the key with this text, comparing with every key in constant time; raise Problem 401."""
        given = _digest(token)
        found: ApiKey | None = None
        for key in self._keys:
            if hmac.compare_digest(given, key.digest):
                found = key
        if found is None:
            raise Problem(
                ErrorCode.KEY_INVALID, f"{field}: no such API key is known here", field=field, headers=_CHALLENGE
            )
        return found

    def charge(self, key: ApiKey) -> None:
        """Count one push of a key; raise Problem 429 when it pushes faster than it may."""
        rate = key.pushes_per_second
        if rate and not self._budgets[key.digest].allow(self._now(), rate, _burst(rate)):
            raise Problem(
                ErrorCode.RATE_LIMITED,
                f"the key {key.name!r} may push {rate:g} times a second",
                headers={"Retry-After": str(math.ceil(1 / rate))},
            )


def check_scope(key: ApiKey, scope: Scope) -> None:
    """Raise Problem 403 when the key may not do this."""
    if scope not in key.scopes:
        raise Problem(ErrorCode.FORBIDDEN, f"the key {key.name!r} does not have the scope {scope!s}")


def _burst(rate: float) -> float:
    return max(1.0, rate)


def _digest(key: str) -> bytes:
    # Header and query text that was not UTF-8 arrives with lone surrogates in it; it is no key, and no error either.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
