"""Whether Ray really asks for the token: seen on the wire, not taken from a setting."""

from __future__ import annotations

import os
from pathlib import Path

import grpc

from silri.core.errors import UsageError
from silri.runtime.cluster.wire.security import TOKEN_PATH

TIMEOUT_S = 5.0
# The cheapest question that each of the two ports answers.
CLIENT_PORT = "/ray.rpc.RayletDriver/ClusterInfo"
RAY_PORT = "/ray.rpc.NodeInfoGcsService/CheckAlive"


def answer(address: str, question: str, token: str | None) -> grpc.StatusCode:
    """The status that ``address`` (HOST:PORT) gives to a question with ``token``, or without."""
    metadata = None if token is None else (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(question)(b"", timeout=TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


def check_refuses_strangers(host: str, client_port: int, ray_port: int) -> None:
    """Knock at both ports of a head without a token.

    Raises:
        UsageError: one of them does not refuse.
    """
    for port, question in ((client_port, CLIENT_PORT), (ray_port, RAY_PORT)):
        code = answer(f"{host}:{port}", question, None)
        if code is not grpc.StatusCode.UNAUTHENTICATED:
            raise UsageError(
                f"Ray on {host}:{port} does not ask for a token (it answered {code.name}): whoever "
                "reaches it could run code here. Refusing to start; is RAY_AUTH_MODE set?"
            )


def problem_with(address: str) -> str:
    """Why the client port at ``address`` cannot be used with our token; empty if it can."""
    path = os.environ.get(TOKEN_PATH, "")
    token = Path(path).read_text(encoding="ascii").strip() if path else None
    code = answer(address, CLIENT_PORT, token)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return (
            f"{address} refuses the token in {path}: copy the learner's ~/.silri/token to this "
            "machine"
        )
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return f"nobody answers at {address}; is 'silri learner' running there?"
    return ""
