"""A server of frozen features: SmolVLA, pi0 or pi0.5 by the lerobot that is installed here.

A file of its own: an environment with lerobot runs it by its path, and needs nothing of silri::

    SILRI_VLA_TOKEN=... python feature_server.py --weights FOLDER [--port N] [--device cuda]

It needs lerobot (written for 0.4.4) with its extra for the policy, numpy and msgpack. It prints
``{"port": N}`` once it can answer. The wire, on loopback only: four bytes of length, then msgpack.
Each connection begins with ``{"token": ...}``, which is answered with what the model is; every
further message is one observation. An answer with ``error`` says why there is none.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

PROTOCOL = 1
TOKEN = "SILRI_VLA_TOKEN"  # of the environment
LIMIT = 64 << 20  # bytes of a message
GREETING_S = 5.0  # for a caller to say who it is
_DTYPES = ("uint8", "float32")
_PICTURES = "observation.images."
_STATE = "observation.state"
# Where a policy runs its vision-language model; the first call of a decision is of the prefix:
# pictures, words and state.
_TRUNKS = ("vlm_with_expert", "paligemma_with_expert")


# -- the wire --------------------------------------------------------------------------------------


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """One message; arrays keep dtype and shape."""
    body = msgpack.packb(message, default=_packed, use_bin_type=True)
    connection.sendall(len(body).to_bytes(4, "big") + body)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next message; None at the end of the connection.

    Raises:
        ValueError: it is no message, or larger than :data:`LIMIT`.
        OSError: of the socket.
    """
    head = _exactly(connection, 4)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > LIMIT:
        raise ValueError(f"a message of {size} bytes; {LIMIT} are allowed")
    body = _exactly(connection, size)
    if body is None:
        return None
    message = _arrays(msgpack.unpackb(body, raw=False))
    if not isinstance(message, dict):
        raise ValueError("that is no message")
    return message


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _packed(value: Any) -> Any:
    array = np.ascontiguousarray(value)
    return {"__array__": [str(array.dtype), list(array.shape), array.tobytes()]}


def _arrays(value: Any) -> Any:
    """``value`` with arrays where they were."""
    if not isinstance(value, dict):
        return value
    if set(value) == {"__array__"}:
        dtype, shape, data = value["__array__"]
        if dtype not in _DTYPES:
            raise ValueError(f"no array here has the dtype {dtype!r}")
        return np.frombuffer(data, dtype).reshape(shape)
    return {key: _arrays(item) for key, item in value.items()}


def digest_of(folder: Path, *settings: str) -> str:
    """16 hexadecimal digits over the files of a model, and over settings that change its numbers.

    Args:
        folder: with ``.safetensors`` and with the texts (JSON, templates, vocabularies) beside.
        settings: in order.
    """
    total = hashlib.sha256("\0".join(settings).encode())
    for path in sorted(p for p in folder.iterdir() if p.suffix in FILES):
        part = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                part.update(block)
        total.update(f"\0{path.name}:{part.hexdigest()}".encode())
    return total.hexdigest()[:16]


FILES = (".safetensors", ".json", ".jinja", ".txt", ".model")


# -- the model -------------------------------------------------------------------------------------


class _EnoughError(Exception):
    """Ends a decision once its embedding is known: no action was asked for."""


class Provider:
    """A policy of lerobot as a provider of features.

    Attributes:
        described: what the other side must know of it.
    """

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        """Load the policy in ``folder`` and its own processors; asks it once about nothing."""
        import lerobot
        import torch
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        self._torch, self._device = torch, device
        config = PreTrainedConfig.from_pretrained(folder)
        config.device, config.pretrained_path = device, folder
        if hasattr(config, "load_vlm_weights"):
            config.load_vlm_weights = False  # all of them are in the policy's own file
        if hasattr(config, "compile_model"):
            config.compile_model = False
        if hasattr(config, "dtype"):
            config.dtype = dtype
        elif dtype != "float32":
            raise ValueError(f"the policy '{config.type}' has no setting dtype: leave it float32")
        self._policy = get_policy_class(config.type).from_pretrained(folder, config=config)
        self._policy.to(device).eval()
        model = self._policy.model
        trunk = next((name for name in _TRUNKS if hasattr(model, name)), None)
        if trunk is None:
            raise ValueError(
                f"the policy '{config.type}' has no vision-language model that this server knows; "
                "it takes smolvla, pi0 and pi05"
            )
        self._before, self._after = make_pre_post_processors(
            config,
            pretrained_path=folder,
            preprocessor_overrides={"device_processor": {"device": device}},
        )
        self._caught: dict[str, Any] = {}
        self._wanted = False
        model.embed_prefix = self._watching_prefix(model.embed_prefix)
        inner = getattr(model, trunk)
        inner.forward = self._watching_trunk(inner.forward)
        features = config.input_features
        self._pictures = [key for key in features if key.startswith(_PICTURES)]
        state = features[_STATE].shape[0] if _STATE in features else None
        frames = {key: np.zeros((*features[key].shape[1:], 3), np.uint8) for key in self._pictures}
        blank = np.zeros(state, np.float32) if state else None
        first = self._ask(frames, "nothing", blank, wanted=True)
        self.described = {
            "protocol": PROTOCOL,
            "name": config.type,
            "digest": digest_of(folder, config.type, dtype),
            "size": len(first["embedding"]),
            "action": len(first["action"]),
            "cameras": [key.removeprefix(_PICTURES) for key in self._pictures],
            "state": state,
            "runs_on": f"lerobot {lerobot.__version__}, torch {torch.__version__}, {device}",
        }

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The embedding of one observation, and the action if it is wanted."""
        frames = {_PICTURES + name: frame for name, frame in asked["frames"].items()}
        return self._ask(frames, asked["instruction"], asked["state"], wanted=asked["action"])

    def _ask(
        self, frames: dict[str, np.ndarray], words: str, state: np.ndarray | None, *, wanted: bool
    ) -> dict[str, Any]:
        torch = self._torch
        batch: dict[str, Any] = {
            key: torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255.0
            for key, frame in frames.items()
        }
        if state is not None:
            batch[_STATE] = torch.from_numpy(state.copy())[None]
        batch = self._before({**batch, "task": words})
        self._caught, self._wanted = {}, wanted
        # A flow begins with noise: the same for every observation, so that an answer is a
        # function of what was asked.
        torch.manual_seed(0)
        action = None
        with torch.inference_mode():
            try:
                chunk = self._policy.predict_action_chunk(batch)
                action = self._after(chunk[:, 0])[0].float().cpu().numpy()
            except _EnoughError:
                pass  # before the action
        return {"embedding": self._embedding(), "action": action}

    def _embedding(self) -> np.ndarray:
        """(2 H,) float32: the mean over the prefix's tokens, and its last one."""
        hidden = self._caught["hidden"][0].float()
        real = hidden[self._caught["mask"][0].bool()]
        return self._torch.cat([real.mean(0), real[-1]]).cpu().numpy()

    def _watching_prefix(self, embed: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            embedded, mask, attention = embed(*args, **kwargs)
            self._caught["mask"] = mask
            return embedded, mask, attention

        return watched

    def _watching_trunk(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = forward(*args, **kwargs)
            if "hidden" not in self._caught:
                self._caught["hidden"] = result[0][0]
                if not self._wanted:
                    raise _EnoughError
            return result

        return watched


# -- serving ---------------------------------------------------------------------------------------


def serve(
    listener: socket.socket,
    token: str,
    described: dict[str, Any],
    answer: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """Answer whoever has the token, until the process ends. One observation at a time."""
    alone = threading.Lock()

    def attend(connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(GREETING_S)
                hello = receive(connection) or {}
                if not hmac.compare_digest(str(hello.get("token")).encode(), token.encode()):
                    send(connection, {"error": "the token is wrong"})
                    return
                connection.settimeout(None)
                send(connection, described)
                while (asked := receive(connection)) is not None:
                    with alone:
                        answered = _answered(answer, asked)
                    send(connection, answered)
            except (OSError, ValueError) as error:
                print(f"let go of a caller: {error}", file=sys.stderr)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=attend, args=(connection,), daemon=True).start()


# What a network, a processor or a message that lacks something raises.
_FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError),
)


def _answered(
    answer: Callable[[dict[str, Any]], dict[str, Any]], asked: dict[str, Any]
) -> dict[str, Any]:
    try:
        return answer(asked)
    except _FAILURES as error:  # the other side ends its run with this text
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}


def end_with_parent() -> None:
    """End this process when whoever started it does, however that one ends."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """Load, listen, answer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, help="folder of the policy")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--child", action="store_true", help="end when the standard input does")
    given = parser.parse_args()
    token = os.environ.get(TOKEN, "")
    if len(token) < 16:
        print(f"set {TOKEN} to a secret of 16 or more characters", file=sys.stderr)
        return 2
    if given.child:
        end_with_parent()
    said, sys.stdout = sys.stdout, sys.stderr  # libraries print; the first line is ours
    provider = Provider(given.weights, given.device, given.dtype)
    with socket.create_server(("127.0.0.1", given.port)) as listener:
        print(json.dumps({"port": listener.getsockname()[1]}), file=said, flush=True)
        serve(listener, token, provider.described, provider.answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
