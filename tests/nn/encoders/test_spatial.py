from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from silri.nn.encoders.spatial import SpatialEmbedding


def test_leading_axes_stay_and_the_rest_becomes_features():
    module = SpatialEmbedding(size=5)
    maps = jnp.ones((2, 3, 4, 4, 6), jnp.float16)
    params = module.init(jax.random.key(0), maps)
    features = module.apply(params, maps)
    assert features.shape == (2, 3, 5)
    assert features.dtype == jnp.float32


def test_it_says_where_something_is():
    """The same thing elsewhere in the picture gives other features; an average would not."""
    module = SpatialEmbedding()
    maps = np.zeros((2, 4, 4, 6), np.float16)
    maps[0, 0, 1, 2] = maps[1, 3, 2, 2] = 1.0
    params = module.init(jax.random.key(0), maps)
    here, there = module.apply(params, maps)
    assert np.abs(here - there).max() > 0.05


def test_a_filter_is_a_weighted_sum_over_places():
    module = SpatialEmbedding(filters=2, size=3)
    maps = np.random.default_rng(0).normal(size=(1, 2, 2, 3)).astype(np.float16)
    params = module.init(jax.random.key(1), maps)["params"]
    kernel = params["kernel"]
    embedded = np.einsum("pc,pcf->cf", maps.reshape(4, 3).astype(np.float32), kernel)
    dense = embedded.reshape(-1) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    normal = (dense - dense.mean()) / np.sqrt(dense.var() + 1e-6)
    found = module.apply({"params": params}, maps)[0]
    np.testing.assert_allclose(found, np.tanh(normal), rtol=1e-4, atol=1e-5)
