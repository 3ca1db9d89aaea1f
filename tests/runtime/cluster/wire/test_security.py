from __future__ import annotations

import os
import threading

import pytest

from silri.core.errors import ConfigError, UsageError
from silri.runtime.cluster.wire.security import (
    authenticated,
    check_listening,
    check_token,
    default_token_path,
    ensure_token,
)


@pytest.fixture
def token(tmp_path):
    return ensure_token(tmp_path / "home" / "token")


def test_a_token_is_made_for_its_owner_alone(token):
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    assert len(bytes.fromhex(token.read_text().strip())) == 32
    assert [path.name for path in token.parent.iterdir()] == ["token"]


def test_a_token_is_kept_and_no_two_are_alike(token, tmp_path):
    content = token.read_text()
    assert ensure_token(token).read_text() == content
    assert ensure_token(tmp_path / "other").read_text() != content


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777 & ~0o700])
def test_whatever_the_umask_is(tmp_path, umask):
    before = os.umask(umask)
    try:
        assert ensure_token(tmp_path / "token").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_of_many_at_once_one_makes_it(tmp_path):
    seen, errors = set(), []

    def make():
        try:
            seen.add(ensure_token(tmp_path / "token").read_text())
        except (OSError, ConfigError) as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(seen) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o620])
def test_one_that_others_can_read_is_refused(token, mode):
    token.chmod(mode)
    for function in (check_token, ensure_token):
        with pytest.raises(ConfigError, match=f"can be read by others: 'chmod 600 {token}'"):
            function(token)


def test_a_missing_one_says_where_it_comes_from(tmp_path):
    with pytest.raises(ConfigError, match=r"no token at .*nowhere: copy .*chmod 600"):
        check_token(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no token at"):
        check_token(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 5])
def test_what_is_no_token_is_refused(token, content):
    token.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{token} is no token: remove it"):
        ensure_token(token)


def test_the_environment_of_a_process_that_speaks_ray(token):
    before = {"HOME": "x", "RAY_AUTH_TOKEN": "somebody else's", "RAY_AUTH_TOKEN_PATH": "elsewhere"}
    after = authenticated(before, token)
    assert after == {"HOME": "x", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    assert authenticated(after, token) == after
    assert before["RAY_AUTH_TOKEN"] == "somebody else's"


@pytest.mark.parametrize("mode", ["disabled", "", "k8s", "Token"])
def test_authentication_cannot_be_turned_off(token, mode):
    with pytest.raises(UsageError, match=f"RAY_AUTH_MODE={mode} turns authentication off"):
        authenticated({"RAY_AUTH_MODE": mode}, token)


@pytest.mark.parametrize(
    ("host", "outside"),
    [("127.0.0.1", False), ("127.8.8.8", False), ("10.0.0.5", True), ("100.64.0.9", True)],
)
def test_an_address_to_listen_on(host, outside):
    assert check_listening(host) is outside


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_not_all_addresses_at_once(host):
    with pytest.raises(UsageError, match="every network of this machine"):
        check_listening(host)


@pytest.mark.parametrize("host", ["localhost", "", "10.0.0", "10.0.0.5:80", "robot.local"])
def test_what_is_no_address(host):
    with pytest.raises(UsageError, match="--listen takes an IP address"):
        check_listening(host)


def test_the_token_is_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_token_path() == tmp_path / ".silri" / "token"
