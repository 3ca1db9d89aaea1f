"""Where a console listens, and the token that opens it."""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
from pathlib import Path

from silri.core.errors import ConfigError
from silri.runtime.cluster.wire.security import ensure_token


def own_token(file: str | None, host: str, option: str = "--operator.token-file") -> str:
    """The token that pages must show: the one in ``file``, or a new one.

    Args:
        file: made if it is not there.
        host: that the page is served on.
        option: that gives ``file``, for messages.

    Raises:
        ConfigError: ``host`` is not one address, or others can reach it and there is no file; or
            the file can be read by others.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(
            f"the console's host takes an IP address of this machine, such as 127.0.0.1, got "
            f"{host!r}"
        ) from None
    if address.is_unspecified:
        raise ConfigError(
            f"the host {host} is every network of this machine; name the one address that pages "
            "are to come by"
        )
    if file is not None:
        path = ensure_token(Path(file).expanduser())
        return path.read_text(encoding="ascii").strip()
    if not address.is_loopback:
        raise ConfigError(
            f"whoever reaches {host} could drive the robot: give {option} FILE too "
            "(it is made if it is not there), or stay on 127.0.0.1 and use 'ssh -L'"
        )
    return secrets.token_urlsafe(24)


def listen(host: str, port: int, option: str) -> socket.socket:
    """A listening socket on exactly this port; 0 takes any that is free.

    Raises:
        ConfigError: it is taken, or cannot be used; names ``option``.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=64)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} is taken; give another one, {option} {port + 1} say, or {option} 0 "
                "for any that is free"
            ) from error
        raise ConfigError(
            f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}"
        ) from error


def url(listener: socket.socket, token: str) -> str:
    """Where the page is, for whoever may see it."""
    return f"{address(listener)}?token={token}"


def address(listener: socket.socket) -> str:
    """Where the page is, without what opens it."""
    host, port = listener.getsockname()[:2]
    where = f"[{host}]" if ":" in host else host
    return f"http://{where}:{port}/"
