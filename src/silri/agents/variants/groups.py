r"""SiLRI with a hierarchy of multipliers: coarse ones for groups of states, and a fine correction.

::

    lambda(s) = softplus( net(s) + sum_g w_g(s) c_g ),   w(s) = softmax(cells^T s)

The coarse values c move much faster than the network, so that lambda adapts where a person goes
long before every state has been seen. Tried on four tasks, one seed each: worse at the end than a
multiplier per state (docs/explanation/results.md).
"""

from __future__ import annotations

import flax.linen as nn
import jax

from silri.agents.silri import SiLRIAgent
from silri.agents.silri_presets import DEFAULT, KNOWLEDGE
from silri.core.registry import Preset
from silri.nn.heads import Multiplier, Observation

GROUPS = 16  # coarse cells
RATE = 100.0  # of a coarse value, relative to the network's


class GroupedMultiplier(Multiplier):
    """:class:`~silri.nn.heads.Multiplier` with a coarse value for each soft group of states."""

    groups: int = GROUPS

    @nn.compact
    def __call__(self, observation: Observation) -> jax.Array:
        """Observation -> (...,)."""
        features = self.observer(observation)
        # Adam's step does not depend on the gradient's size, so a factor on the parameter is a
        # factor on its rate.
        coarse = RATE * self.param("coarse", nn.initializers.zeros, (self.groups,))
        size = (features.shape[-1], self.groups)
        cells = jax.lax.stop_gradient(self.param("cells", nn.initializers.normal(1.0), size))
        raw = self.raw(features) + jax.nn.softmax(features @ cells, axis=-1) @ coarse
        return jax.nn.softplus(raw)


class GroupedSiLRIAgent(SiLRIAgent):
    """SiLRI with another network for lambda(s)."""

    multiplier_type = GroupedMultiplier


PRESETS = {"default": Preset(DEFAULT, "silri's default", KNOWLEDGE)}
