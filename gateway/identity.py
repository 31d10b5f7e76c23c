"""Who a viewer is: a verified token's claims, or an anonymous guest."""

import secrets
from typing import Annotated, Any, Final

import jwt
import msgspec

from protocol.codes import ErrorCode
from protocol.danmaku import Role
from protocol.dialect import CommandError, User
from protocol.limits import NAME_MAX_CHARS
from protocol.names import NameInvalid, parse_user_id

SHARED_SECRET_ALGORITHMS: Final = ("HS256", "HS384", "HS512")
PUBLIC_KEY_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
CLOCK_LEEWAY_S: Final = 30
"""How far the issuer's clock and ours may differ."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A viewer as the platform knows it; travels to logic with everything the viewer sends."""

    id: str
    name: str = ""
    role: Role = "viewer"
    level: int = 0
    authenticated: bool = False

    def as_user(self) -> User:
        """Return what the viewer itself is told."""
        return User(id=self.id, name=self.name, role=self.role)


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    name: str = ""
    role: Role = "viewer"
    level: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0


def guest() -> Identity:
    """Return a new anonymous identity; its id means nothing outside this connection."""
    return Identity(id=f"guest:{secrets.token_hex(6)}")


class TokenVerifier:
    """Checks JSON Web Tokens (RFC 7519) by shared secret or public key.

    Claims: `sub` is the user id; `name`, `role` and `level` are optional; `exp` and `nbf` are honoured with 30 s of
    leeway. The algorithm is never taken from the token alone: a secret allows HMAC only, a public key signatures only.
    """

    def __init__(self, secret: str | None, public_key: str | None) -> None:
        self._keys: list[tuple[str, tuple[str, ...]]] = []
        if secret:
            self._keys.append((secret, SHARED_SECRET_ALGORITHMS))
        if public_key:
            self._keys.append((public_key, PUBLIC_KEY_ALGORITHMS))

    def verify(self, token: str) -> Identity:
        """Return the identity in the token; raise CommandError (token_invalid) that says what is wrong with it."""
        problem = "no key is configured to check it with"
        for key, algorithms in self._keys:
            try:
                claims = jwt.decode(token, key, algorithms=list(algorithms), leeway=CLOCK_LEEWAY_S, options=_OPTIONS)
            except jwt.PyJWTError as error:
                problem = _lower_first(str(error))
                continue
            return _identity(claims)
        raise CommandError(ErrorCode.TOKEN_INVALID, f"token: {problem}")


_OPTIONS: Final[Any] = {"require": ["sub"], "verify_aud": False}


def _identity(claims: dict[str, Any]) -> Identity:
    try:
        known = msgspec.convert(claims, _Claims)
        user = parse_user_id(known.sub)
    except (msgspec.ValidationError, NameInvalid) as error:
        raise CommandError(ErrorCode.TOKEN_INVALID, f"token: {_lower_first(str(error))}") from error
    name = known.name[:NAME_MAX_CHARS]
    return Identity(id=user, name=name, role=known.role, level=known.level, authenticated=True)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
