"""API keys."""

import hashlib

import pytest
from pydantic import ValidationError

from logic.api.keys import ApiKey, ApiKeySetting, KeyRing, Scope, check_scope
from logic.api.problems import Problem
from protocol.codes import ErrorCode

SECRET = "s3cret-key-0123456789"
RING = KeyRing([ApiKey.of("shop", SECRET, [Scope.PUBLISH]), ApiKey.of("ops", "another-key-0123456789")])


def test_a_key_is_found_by_its_text() -> None:
    """The header's key gives the entry with its name and scopes; the scheme's case does not matter."""
    for header in (f"Bearer {SECRET}", f"bearer {SECRET}", f"BEARER  {SECRET} "):
        key = RING.authenticate(header)
        assert (key.name, key.scopes) == ("shop", frozenset({Scope.PUBLISH}))
    assert RING.authenticate("Bearer another-key-0123456789").name == "ops"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, ErrorCode.UNAUTHENTICATED),
        ("", ErrorCode.UNAUTHENTICATED),
        (SECRET, ErrorCode.UNAUTHENTICATED),
        (f"Basic {SECRET}", ErrorCode.UNAUTHENTICATED),
        ("Bearer", ErrorCode.KEY_INVALID),
        ("Bearer ", ErrorCode.KEY_INVALID),
        (f"Bearer {SECRET}x", ErrorCode.KEY_INVALID),
        (f"Bearer {SECRET[:-1]}", ErrorCode.KEY_INVALID),
        ("Bearer \udcff\ud800", ErrorCode.KEY_INVALID),
    ],
)
def test_anything_else_is_401(header: str | None, code: ErrorCode) -> None:
    """No key, another scheme and unknown keys are 401 with a challenge."""
    with pytest.raises(Problem) as caught:
        RING.authenticate(header)
    assert caught.value.code is code
    assert caught.value.status == 401
    assert caught.value.headers == {"WWW-Authenticate": 'Bearer realm="danmaku-push"'}


def test_a_missing_scope_is_403_naming_it() -> None:
    """A key may do what its scopes say; for the rest the problem names key and scope."""
    key = RING.authenticate(f"Bearer {SECRET}")
    check_scope(key, Scope.PUBLISH)
    with pytest.raises(Problem, match="'shop' does not have the scope broadcast") as caught:
        check_scope(key, Scope.BROADCAST)
    assert caught.value.status == 403


def test_keys_do_not_show() -> None:
    """Neither the text nor the digest of a key is in any representation."""
    setting = ApiKeySetting.model_validate({"name": "shop", "key": SECRET, "scopes": ["publish"]})
    digest = hashlib.sha256(SECRET.encode())
    for text in (repr(setting), str(setting), repr(setting.to_key()), repr(RING), setting.model_dump_json()):
        assert SECRET not in text
        assert digest.hexdigest() not in text
        assert repr(digest.digest()) not in text


def test_a_setting_becomes_a_key() -> None:
    """The operator's form gives the same key as the text does."""
    setting = ApiKeySetting.model_validate({"name": "shop", "key": SECRET, "scopes": ["publish", "user"]})
    assert setting.to_key() == ApiKey.of("shop", SECRET, [Scope.PUBLISH, Scope.USER])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "@loopback"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "shop\n"}, "name"),
        ({"key": "too-short"}, "key"),
        ({"key": "with space 0123456789"}, "key"),
        ({"key": "x" * 257}, "key"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes"),
        ({"scope": ["read"]}, "scope"),
    ],
)
def test_bad_settings_name_the_field_and_hide_the_key(change: dict[str, object], field: str) -> None:
    """A bad setting is refused naming the field; the message does not contain the key."""
    value = {"name": "shop", "key": SECRET, "scopes": ["read"], **change}
    with pytest.raises(ValidationError) as caught:
        ApiKeySetting.model_validate(value)
    assert caught.value.errors()[0]["loc"][0] == field
    assert str(value["key"]) not in str(caught.value)


def test_one_key_twice_is_a_mistake() -> None:
    """Two entries with one key are refused; two keys with one name are a key being replaced."""
    with pytest.raises(ValueError, match="listed twice"):
        KeyRing([ApiKey.of("a", SECRET), ApiKey.of("b", SECRET)])
    KeyRing([ApiKey.of("a", SECRET), ApiKey.of("a", SECRET + "2")])
