"""The small network on frozen features, and what makes its output a probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from silri.core.seeding import Stream, derive_seed
from silri.rewards.config import FitConfig

LEARNING_RATE = 1e-3
_NEWTON_STEPS = 100
_AT_A_TIME = 10  # steps


class Network(struct.PyTreeNode):
    """Features (N, F) to logits (N,): one hidden layer, or none.

    Attributes:
        arrays: name to float32; ``hidden/...`` is missing from a logistic regression.
    """

    arrays: dict[str, Any]

    def __call__(self, features: jax.Array) -> jax.Array:
        """(N, F) float32 -> (N,) float32."""
        x = features
        if "hidden/weights" in self.arrays:
            x = jax.nn.relu(x @ self.arrays["hidden/weights"] + self.arrays["hidden/bias"][None])
        logits: jax.Array = (x @ self.arrays["out/weights"] + self.arrays["out/bias"][None])[:, 0]
        return logits


def fresh(inputs: int, hidden: int, seed: int) -> Network:
    """A hidden layer of LeCun-normal weights, and an output that says 0 of everything.

    What a few frames do not teach stays 0, and is not the noise of a random output layer.
    """
    normal = jax.nn.initializers.lecun_normal()
    arrays: dict[str, Any] = {}
    if hidden:
        arrays["hidden/weights"] = normal(jax.random.key(seed), (inputs, hidden), jnp.float32)
        arrays["hidden/bias"] = jnp.zeros(hidden, jnp.float32)
    arrays["out/weights"] = jnp.zeros((hidden or inputs, 1), jnp.float32)
    arrays["out/bias"] = jnp.zeros(1, jnp.float32)
    return Network(arrays)


def train(features: np.ndarray, labels: np.ndarray, config: FitConfig, fold: int = 0) -> Network:
    """Fit a network; both classes weigh the same, however many frames each has.

    Args:
        features: (N, F) float32.
        labels: (N,) 1 or 0, both there.
        config: size, gradient steps, weight decay and seed.
        fold: number of the network, so that several have draws of their own.
    """
    network = fresh(
        features.shape[1], config.hidden, derive_seed(config.seed, Stream.REWARD_NETWORK, fold)
    )
    positive = labels == 1
    weights = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
    optimiser = optax.adamw(LEARNING_RATE, weight_decay=config.weight_decay)
    data = (
        jnp.asarray(features, jnp.float32),
        jnp.asarray(labels, jnp.float32),
        jnp.asarray(weights, jnp.float32),
    )

    def loss(network: Network) -> jax.Array:
        terms = optax.sigmoid_binary_cross_entropy(network(data[0]), data[1])
        return jnp.sum(terms * data[2])

    run = _steps(optimiser, loss, config.updates)
    trained: Network = jax.device_get(run((network, optimiser.init(network)))[0])
    return trained


def _steps(
    optimiser: optax.GradientTransformation, loss: Callable[[Network], jax.Array], count: int
) -> Callable[[Any], Any]:
    """(network, optimiser's state) -> the same after ``count`` steps, compiled."""

    def step(carry: Any, _: None) -> tuple[Any, None]:
        network, state = carry
        with jax.numpy_dtype_promotion("standard"):  # of optax's own scalars
            updates, state = optimiser.update(jax.grad(loss)(network), state, network)
        return (optax.apply_updates(network, updates), state), None

    return jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=count)[0])


def advance(
    network: Network,
    features: np.ndarray,
    labels: np.ndarray,
    counts: np.ndarray,
    *,
    boundary: float,
    config: FitConfig,
    until: Callable[[Network], bool],
) -> Network:
    """Go on with a network's fit until it is good enough, in at most ``config.updates`` steps.

    Args:
        network: to begin with.
        features: (N, F) float32.
        labels: (N,) 1 or 0, both there; both classes weigh the same.
        counts: (N,) how many frames of its class each stands for.
        boundary: logit from which on a frame is taken for a success: what is learned is to be on
            the right side of it.
        config: steps and weight decay.
        until: whether it is good enough; asked now and then.
    """
    positive = labels == 1
    weights = 0.5 * counts / np.where(positive, counts[positive].sum(), counts[~positive].sum())
    optimiser = optax.adamw(LEARNING_RATE, weight_decay=config.weight_decay)
    data = tuple(jnp.asarray(a, jnp.float32) for a in (features, labels, weights))

    def loss(network: Network) -> jax.Array:
        terms = optax.sigmoid_binary_cross_entropy(network(data[0]) - boundary, data[1])
        return jnp.sum(terms * data[2])

    run = _steps(optimiser, loss, _AT_A_TIME)
    start = Network({name: jnp.asarray(array) for name, array in network.arrays.items()})
    carry = start, optimiser.init(start)
    for _ in range(0, config.updates, _AT_A_TIME):
        carry = run(carry)
        if until(carry[0]):
            break
    advanced: Network = jax.device_get(carry[0])
    return advanced


_apply = jax.jit(lambda network, features: network(features))


def logits_of(network: Network, features: np.ndarray) -> np.ndarray:
    """(N, F) -> (N,) float64.

    In calls of one row: a frame's number is the same, bit for bit, whoever asks and however many
    frames it comes with.
    """
    rows = [_apply(network, row[None]) for row in np.asarray(features, np.float32)]
    return np.concatenate([np.asarray(row) for row in rows]).astype(np.float64)


def calibrate(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Platt's scale a and shift b: ``sigmoid(a * logit + b)`` is how often the answer is yes.

    Targets are (N+ + 1)/(N+ + 2) and 1/(N- + 2), not 1 and 0, so that classes that do not overlap
    give no infinite scale (Platt 1999; Newton's method as in Lin, Lin and Weng 2007).

    Args:
        logits: (N,) of frames that the network was not fitted on.
        labels: (N,) 1 or 0.
    """
    positive = labels == 1
    wins, losses = int(positive.sum()), int((~positive).sum())
    targets = np.where(positive, (wins + 1) / (wins + 2), 1 / (losses + 2))
    spread = float(logits.std()) or 1.0
    x = np.stack([logits / spread, np.ones_like(logits)], axis=1)
    theta = np.array([0.0, np.log((wins + 1) / (losses + 1))])

    def cost(theta: np.ndarray) -> float:
        z = x @ theta
        return float(np.sum(np.logaddexp(0.0, z) - targets * z))

    for _ in range(_NEWTON_STEPS):
        p = sigmoid(x @ theta)
        gradient = x.T @ (p - targets)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        move = np.linalg.solve(curvature, gradient)
        size, now = 1.0, cost(theta)
        while cost(theta - size * move) > now and size > 1e-6:
            size /= 2
        theta = theta - size * move
        if np.abs(size * move).max() < 1e-9:
            break
    return float(theta[0] / spread), float(theta[1])


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    result: np.ndarray = np.exp(-np.logaddexp(0.0, -x))
    return result


def threshold_for(probabilities: np.ndarray, labels: np.ndarray, rate: float) -> float:
    """The smallest threshold that calls at most ``rate`` of the negatives a success.

    A frame is called one if its probability is above it. It is 0.5 at least: where the classes
    are far apart, a threshold just above the worst negative would be no wiser.
    """
    negatives = np.sort(probabilities[labels == 0])[::-1]
    allowed = int(rate * len(negatives))
    return max(0.5, float(negatives[allowed]))
