"""Viewers' tokens: what is accepted, and every way in which one is refused."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import CLOCK_LEEWAY_S, Identity, TokenVerifier, guest
from protocol.codes import ErrorCode
from protocol.dialect import CommandError, User
from protocol.limits import NAME_MAX_CHARS
from protocol.names import parse_user_id

SECRET: Final = "0123456789abcdef" * 4

RSA: Final = rsa.generate_private_key(65537, 2048)
KEYS: Final[dict[str, Any]] = {
    "RS256": RSA,
    "PS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def public(key: PrivateKeyTypes) -> str:
    """Return the PEM of a key's public half."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signed(algorithm: str = "HS256", key: Any = SECRET, **claims: Any) -> str:
    """Make a token."""
    return jwt.encode({"sub": "7", **claims}, key, algorithm=algorithm)


def refusal_of(verifier: TokenVerifier, token: str) -> str:
    """Return why a token is refused; it must be."""
    with pytest.raises(CommandError) as caught:
        verifier.verify(token)
    assert caught.value.code is ErrorCode.TOKEN_INVALID
    assert str(caught.value).startswith("token: ")
    return str(caught.value)


BY_SECRET: Final = TokenVerifier(SECRET, None)


def segment(value: object) -> str:
    """Encode one part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_shared_secret(algorithm: str) -> None:
    """A token signed with the shared secret gives the identity in its claims."""
    token = signed(algorithm, name="安娜", role="moderator", level=3)
    identity = BY_SECRET.verify(token)
    assert identity == Identity(id="7", name="安娜", role="moderator", level=3, authenticated=True)
    assert identity.as_user() == User(id="7", name="安娜", role="moderator")


@pytest.mark.parametrize("algorithm", KEYS)
def test_public_key(algorithm: str) -> None:
    """A token signed with the private half of the configured key is accepted, by any other key refused."""
    verifier = TokenVerifier(None, public(KEYS[algorithm]))
    assert verifier.verify(signed(algorithm, KEYS[algorithm])).id == "7"
    for other in KEYS.keys() - {algorithm}:
        if KEYS[other] is not KEYS[algorithm]:
            refusal_of(verifier, signed(other, KEYS[other]))


def test_another_key_of_the_same_kind_is_refused() -> None:
    """The key decides, not the kind of key."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    refusal_of(TokenVerifier(None, public(KEYS["ES256"])), signed("ES256", stranger))
    refusal_of(BY_SECRET, signed(key="another secret" * 6))


def test_secret_and_public_key_together() -> None:
    """When both are configured either signature is accepted."""
    verifier = TokenVerifier(SECRET, public(KEYS["EdDSA"]))
    assert verifier.verify(signed()).authenticated
    assert verifier.verify(signed("EdDSA", KEYS["EdDSA"])).authenticated


@pytest.mark.parametrize("secret", [None, SECRET])
@pytest.mark.parametrize("algorithm", KEYS)
def test_the_public_key_is_no_secret(algorithm: str, secret: str | None) -> None:
    """A token signed by HMAC with the public key's text is refused: anybody has that text."""
    pem = public(KEYS[algorithm])
    unsigned = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{segment({'sub': '7', 'role': 'host'})}"
    mac = hmac.new(pem.encode(), unsigned.encode(), hashlib.sha256).digest()
    token = f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    refusal_of(TokenVerifier(secret, pem), token)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "HS1", ""])
def test_unsigned_tokens_are_refused(algorithm: str) -> None:
    """A token that says it needs no signature, or names an unknown one, is refused."""
    for signature in ("", "AAAA"):
        token = f"{segment({'alg': algorithm, 'typ': 'JWT'})}.{segment({'sub': '7'})}.{signature}"
        refusal_of(BY_SECRET, token)
        refusal_of(TokenVerifier(None, public(KEYS["RS256"])), token)


def test_expiry() -> None:
    """A token is good until its exp and from its nbf, give or take the leeway between two clocks."""
    now = int(time.time())
    assert BY_SECRET.verify(signed(exp=now - CLOCK_LEEWAY_S // 2)).authenticated
    assert BY_SECRET.verify(signed(nbf=now + CLOCK_LEEWAY_S // 2)).authenticated
    assert "expired" in refusal_of(BY_SECRET, signed(exp=now - 2 * CLOCK_LEEWAY_S))
    assert "not yet valid" in refusal_of(BY_SECRET, signed(nbf=now + 4 * CLOCK_LEEWAY_S))


def test_a_subject_is_required() -> None:
    """A token without a user id names nobody."""
    assert '"sub"' in refusal_of(BY_SECRET, jwt.encode({"name": "x"}, SECRET, algorithm="HS256"))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"sub": ""}, "user: must be"),
        ({"sub": "a b"}, "user: must be"),
        ({"sub": "x" * 129}, "user: must be 1 to 128"),
        ({"role": "root"}, "role"),
        ({"role": None}, "role"),
        ({"name": 5}, "name"),
        ({"level": "9"}, "level"),
        ({"level": -1}, "level"),
        ({"level": 1000}, "level"),
        ({"exp": "soon"}, "exp"),
    ],
)
def test_wrong_claims_are_named(claims: dict[str, Any], reason: str) -> None:
    """A claim of the wrong kind is refused, and the text names it."""
    assert reason in refusal_of(BY_SECRET, signed(**claims)).lower()


def test_an_audience_is_nobody_s_business() -> None:
    """Claims that are not ours are ignored."""
    assert BY_SECRET.verify(signed(aud="another service", scope="x", iss="issuer")).id == "7"


def test_a_long_name_is_cut() -> None:
    """A display name longer than the limit is cut, not refused: the issuer need not know the limit."""
    assert BY_SECRET.verify(signed(name="n" * 100)).name == "n" * NAME_MAX_CHARS


def test_without_a_key_nothing_is_accepted() -> None:
    """A gateway without keys says so, and never looks into the token."""
    assert refusal_of(TokenVerifier(None, None), signed()) == "token: no key is configured to check it with"


def test_a_key_that_is_no_key_accepts_nothing() -> None:
    """A PEM that cannot be read refuses every token rather than fail."""
    refusal_of(TokenVerifier(None, "-----BEGIN NONSENSE-----"), signed("EdDSA", KEYS["EdDSA"]))


@given(
    st.text(max_size=60)
    | st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}", fullmatch=True)
)
def test_any_text_is_refused(token: str) -> None:
    """Whatever a client calls a token, the only error is token_invalid."""
    refusal_of(BY_SECRET, token)


def test_guests_are_strangers_to_each_other() -> None:
    """An anonymous viewer gets an id of its own that is a valid user id and not authenticated."""
    one, other = guest(), guest()
    assert one.id != other.id
    assert parse_user_id(one.id) == one.id
    assert (one.authenticated, one.role, one.level) == (False, "viewer", 0)
