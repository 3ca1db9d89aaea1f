"""Names: unique, listed without importing, helpful when wrong; and yours beside silri's own."""

import importlib
import sys
from typing import ClassVar

import pytest

from silri.core import registry
from silri.core.errors import ConfigError, SilriError, UnknownNameError, UsageError
from silri.core.registry import Entry, Preset, Registry, require_attributes, unknown_name
from silri.core.settings import settings


@settings("fruit")
class FruitConfig:
    """Base of all."""


@settings("fruit")
class AppleConfig(FruitConfig):
    """Apples."""

    colour: str = "red"  # of the skin


class Apple:
    """With a configuration class."""

    Config = AppleConfig

    @staticmethod
    def create(config, name):
        return config, name


class Pear:
    """With presets."""

    presets: ClassVar = {
        "default": Preset(AppleConfig("green"), "usual"),
        "ripe": Preset(AppleConfig("yellow"), "soft", {"env": {"step_reward": 0.0}}),
    }
    create = Apple.create


HERE = __name__
FRUIT = Registry(
    "fruit",
    [
        Entry("apple", f"{HERE}:Apple", "round"),
        Entry("pear", f"{HERE}:Pear", "long"),
        Entry("plum/<kind>", f"{HERE}:Apple", "small", presets=f"{HERE}:PLUM"),
        Entry("apricot", "colorsys:no_such_attribute", "small"),
        Entry("banana", "silri.no_such_module:Banana", "bent"),
    ],
    base=f"{HERE}:FruitConfig",
)
PLUM = AppleConfig("blue")


def test_a_name_loads_its_class_configuration_and_presets():
    apple = FRUIT.load("apple")
    assert (apple.name, apple.summary, apple.target, apple.config) == (
        *("apple", "round", Apple, AppleConfig),
    )
    assert dict(apple.presets) == {"default": Preset(AppleConfig(), "round")}
    pear = FRUIT.load("pear")
    assert (pear.config, pear.preset("ripe").config) == (AppleConfig, AppleConfig("yellow"))
    with pytest.raises(UnknownNameError, match="unknown preset of fruit pear 'rip'.*'ripe'"):
        pear.preset("rip")


def test_a_family_stands_for_every_name_with_its_beginning():
    plum = FRUIT.load("plum/sloe")
    assert (plum.name, plum.preset().config) == ("plum/sloe", PLUM)
    assert "plum/sloe" in FRUIT
    assert "plums" not in FRUIT


def test_listing_imports_nothing():
    sys.modules.pop("colorsys", None)
    assert FRUIT.names() == ["apple", "pear", "plum/<kind>", "apricot", "banana"]
    assert [entry.summary for entry in FRUIT] == ["round", "long", "small", "small", "bent"]
    assert "colorsys" not in sys.modules


def test_a_wrong_name_lists_the_right_ones_and_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        FRUIT.get("aple")
    assert str(caught.value) == (
        "unknown fruit 'aple'. Did you mean 'apple'? "
        "Known: apple, pear, plum/<kind>, apricot, banana."
    )
    assert isinstance(caught.value, UsageError)  # exit code 2


def test_a_name_like_none_of_them_gets_no_suggestion():
    error = unknown_name("fruit", "xyz", FRUIT.names())
    assert isinstance(error, SilriError)
    assert "Did you mean" not in str(error)
    assert "Known: apple" in str(error)


def test_of_many_names_a_message_has_the_first():
    error = unknown_name("number", "x", [str(i) for i in range(100)])
    assert str(error).endswith("21, 22, 23 and 76 more.")


def test_two_entries_of_one_name_are_a_bug():
    entry = Entry("apple", "fractions:Fraction", "")
    with pytest.raises(ValueError, match="'apple' is registered twice"):
        Registry("fruit", [entry, entry])


def test_what_is_not_there_is_named_when_it_is_chosen():
    with pytest.raises(ConfigError, match="fruit 'apricot': module 'colorsys' has no 'no_such_at"):
        FRUIT.load("apricot")
    with pytest.raises(ConfigError, match=r"fruit 'banana': no module 'silri\.no_such_module' in"):
        FRUIT.load("banana")


MINE = """
from silri.core.registry import Preset
from tests.core.test_registry import AppleConfig, FruitConfig
from silri.core.settings import settings

@settings("fruit")
class NeedsOne(FruitConfig):
    size: int  # no default

@settings("fruit")
class Alien:
    pass

class Whole:
    Config = AppleConfig
    def create(config): ...

class NoConfig:
    def create(config): ...

class NoCreate:
    Config = AppleConfig

class NoDefault:
    Config = NeedsOne
    def create(config): ...

class NotSettings:
    Config = dict
    def create(config): ...

class OtherBase:
    Config = Alien
    def create(config): ...

class OtherPreset:
    Config = AppleConfig
    presets = {"default": Preset(AppleConfig(), ""), "odd": Preset(Alien(), "")}
    def create(config): ...

THING = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module in the working directory."""
    (tmp_path / "my_fruit.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    yield "my_fruit"
    sys.modules.pop("my_fruit", None)


def test_a_class_in_a_module_of_yours_is_chosen_by_module_and_name(mine):
    before = list(sys.path)
    assert FRUIT.load(f"{mine}:Whole").target.__name__ == "Whole"
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nothing", "module 'my_fruit' has no 'Nothing'"),
        ("THING", "takes a class, got 3"),
        ("NoConfig", "needs an attribute 'Config', its configuration class, or 'presets'"),
        ("NoCreate", "lacks create"),
        ("NoDefault", "Config.size needs a default"),
        ("NotSettings", "Config takes a class made with silri.core.settings.settings, got"),
        ("OtherBase", "its configuration Alien takes tests.core.test_registry.FruitConfig as its"),
        ("OtherPreset", "preset 'odd' holds no AppleConfig"),
    ],
)
def test_a_class_that_breaks_the_contract_is_refused_by_name(mine, name, message):
    with pytest.raises(ConfigError) as error:
        FRUIT.load(f"{mine}:{name}")
    assert str(error.value).startswith(f"fruit '{mine}:{name}'")
    assert message in str(error.value)


def test_an_error_inside_your_module_is_shown(tmp_path, monkeypatch):
    (tmp_path / "broken_fruit.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    words = "'broken_fruit' cannot be imported: ModuleNotFoundError: .* 'not_installed_anywhere'"
    with pytest.raises(ConfigError, match=words):
        FRUIT.load("broken_fruit:Whole")


def test_an_object_that_lacks_a_part_of_its_contract_is_named():
    with pytest.raises(ConfigError, match=r"^fruit 'x' created Apple, which lacks peel, core$"):
        require_attributes(Apple(), ("create", "peel", "core"), "fruit 'x'")


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """Installed packages that offer fruit."""

    def install(package, name, target):
        folder = tmp_path / f"{package}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (folder / "entry_points.txt").write_text(f"[silri.fruit]\n{name} = {target}\n")

    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    registry._offered.cache_clear()
    yield install
    registry._offered.cache_clear()


def with_packages():
    return Registry("fruit", [Entry("apple", f"{HERE}:Apple", "round")], group="silri.fruit")


def test_an_installed_package_offers_a_name(offered):
    offered("orchard", "quince", f"{HERE}:Pear")
    rows = {entry.name: entry for entry in with_packages()}
    assert (rows["quince"].summary, rows["quince"].package) == (
        "from orchard 1.2",
        "orchard 1.2",
    )
    assert with_packages().load("quince").target is Pear
    with pytest.raises(UnknownNameError, match="Did you mean 'quince'"):
        with_packages().load("quinc")


def test_a_name_that_two_offer_is_refused_with_both(offered):
    offered("orchard", "apple", f"{HERE}:Pear")
    with pytest.raises(ConfigError) as error:
        with_packages().load("apple")
    assert str(error.value) == (
        "fruit 'apple' is offered by silri and orchard 1.2: uninstall one of them, or name the "
        f"class, '{HERE}:Pear'"
    )
