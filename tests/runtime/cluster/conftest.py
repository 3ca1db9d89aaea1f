from __future__ import annotations

import pytest

from silri.store.safety import files
from tests.fakes.hub import Robot, Site


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "run")
    yield made
    made.kill()


@pytest.fixture
def robot(site, tmp_path):
    return Robot(tmp_path / "spool", site)


@pytest.fixture
def on_write(monkeypatch):
    """Sets the hook; it is off again when the test ends."""
    monkeypatch.setattr(files, "on_write", None)
    return lambda hook: setattr(files, "on_write", hook)
