"""What a test has made with its own hands, chosen by name as somebody's outside silri would be."""

from __future__ import annotations

from silri.core.settings import settings
from silri.envs.config import EnvConfig
from silri.intervention.operators import OperatorConfig

GIVEN = {}  # "env" and "operator"
ENV, OPERATOR = f"{__name__}:GivenEnv", f"{__name__}:GivenOperator"


@settings("env")
class GivenConfig(EnvConfig):
    """Nothing of its own."""


class GivenEnv:
    """Hands out what a test has put there."""

    Config = GivenConfig

    @staticmethod
    def create(config, name):
        return GIVEN["env"]


class GivenOperator:
    """Hands out what a test has put there."""

    Config = OperatorConfig

    @staticmethod
    def create(config, context):
        return GIVEN["operator"]
