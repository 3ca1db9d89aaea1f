from __future__ import annotations

import pytest

from silri.core.errors import ConfigError
from silri.vla.config import VlaConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": "folder"}, "vla.weights belongs to a model, and vla.model is None"),
        ({"prior_action": True}, "vla.prior_action, vla.beside belongs to a model"),
        ({"model": "lerobot", "server": "10.0.0.3:5577"}, "got '10.0.0.3:5577': the wire is not"),
        ({"model": "lerobot", "server": "127.0.0.1"}, "vla.server takes 127.0.0.1:PORT"),
        ({"model": "lerobot", "timeout_s": 0.0}, "vla.timeout_s takes a number > 0, got 0.0"),
        ({"model": ""}, "vla.model takes text of 1 or more characters, or None"),
    ],
)
def test_wrong_values_are_refused(fields, message):
    with pytest.raises(ConfigError) as error:
        VlaConfig(**fields)
    assert message in str(error.value)


def test_an_address_is_on_loopback():
    assert VlaConfig(model="lerobot", server="127.0.0.1:5577").address == ("127.0.0.1", 5577)
    assert VlaConfig(model="lerobot", server="[::1]:80").address == ("::1", 80)
