"""Who may talk to the hub: whoever has the token. Ray's messages are pickles, so nobody else may.

Ray checks the token on every port of its head when ``RAY_AUTH_MODE`` is ``token``. This module
makes the token, turns the check on, and refuses every other setting before a port is open.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from silri.core.errors import ConfigError, UsageError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_BYTES = 32


def default_token_path() -> Path:
    """``~/.silri/token``: one for all runs of a person, so that robots need it once."""
    return Path.home() / ".silri" / "token"


def ensure_token(path: Path) -> Path:
    """The token file at ``path``, made if there is none.

    Raises:
        ConfigError: others may read it, or it is no token.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not one of data.files' primitives: it must never be readable by others, not even
        # for a moment. Linked when it is whole: of two processes one makes it.
        beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(beside)
        beside.unlink()
    return check_token(path)


def check_token(path: Path) -> Path:
    """``path``, which holds a token that is nobody else's to read.

    Raises:
        ConfigError: if not; says how to mend it.
    """
    if not path.is_file():
        raise ConfigError(
            f"there is no token at {path}: copy ~/.silri/token from the learner's machine, e.g. "
            f"'scp LEARNER:.silri/token {path}', and 'chmod 600' it"
        )
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path} can be read by others: 'chmod 600 {path}'")
    if len(path.read_text(encoding="ascii", errors="replace").strip()) < _BYTES:
        raise ConfigError(f"{path} is no token: remove it, and 'silri learner' makes a new one")
    return path


def authenticated(environment: Mapping[str, str], token: Path) -> dict[str, str]:
    """``environment`` for a process that speaks Ray: token authentication on, with ``token``.

    Raises:
        UsageError: the environment asks for authentication to be off.
    """
    mode = environment.get(MODE, "token")
    if mode != "token":
        raise UsageError(
            f"{MODE}={mode} turns authentication off, and whoever reaches the port could then run "
            f"code here; unset {MODE}"
        )
    cleaned = {key: value for key, value in environment.items() if key != TOKEN}
    return {**cleaned, MODE: "token", TOKEN_PATH: str(token)}


def check_listening(host: str) -> bool:
    """Whether ``host`` is reachable from other machines too.

    Raises:
        UsageError: it is no IP address, or it is all of them at once.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(
            "--listen takes an IP address of this machine (127.0.0.1, or its address in your "
            f"VPN), got {host!r}"
        ) from None
    if (getattr(address, "ipv4_mapped", None) or address).is_unspecified:
        raise UsageError(
            f"--listen {host} is every network of this machine; name the one address that the "
            "robots use"
        )
    return not address.is_loopback
