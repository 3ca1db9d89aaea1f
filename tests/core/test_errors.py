"""The error tree decides exit codes: usage errors are 2, every other one 1."""

import inspect

import pytest

from silri.core import errors

USAGE = {"UsageError", "UnknownNameError", "ConfigError", "MissingExtraError", "RunFolderError"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [item for item in inspect.getmembers(errors, inspect.isclass) if item[0] != "SilriError"],
)
def test_every_error_is_a_silri_error_on_the_right_branch(name, kind):
    assert issubclass(kind, errors.SilriError)
    assert issubclass(kind, errors.UsageError) == (name in USAGE)
    assert inspect.getdoc(kind)


def test_a_missing_extra_says_how_to_install_it():
    error = errors.MissingExtraError("console", "the cockpit")
    assert str(error) == "the cockpit needs an extra: pip install 'silri[console]'"
