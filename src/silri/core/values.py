"""What somebody else's code gives for a number, a truth value or an array of numbers.

Python's own ``float`` and ``bool`` take too much: ``bool("False")`` and ``bool(nan)`` are true, and
``float("1")`` is a number. Whoever is misread gets a wrong success rate and no word about it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from silri.core.errors import SpecError

_SHOWN = 60  # characters of a value in a message
_NO_NUMBERS = "cSUMm"  # kinds of dtypes: complex, bytes, text, times


def number(name: str, value: Any) -> float:
    """A number, or the one in an array of one element.

    Raises:
        SpecError: it is none; names ``name`` and the value.
    """
    one = _only(value)
    if one is None:
        raise SpecError(f"{name} is {_shown(value)}; it takes a number")
    return float(one)


def truth(name: str, value: Any) -> bool:
    """True or False, also as 1 or 0, or the one in an array of one element.

    Raises:
        SpecError: it is neither; names ``name`` and the value.
    """
    if value is True or value is False:
        return bool(value)
    one = _only(value)
    if one is None or one not in (0, 1):
        raise SpecError(f"{name} is {_shown(value)}; it takes True or False (or 1 or 0)")
    return bool(one)


def numbers(name: str, value: Any) -> np.ndarray:
    """An array of numbers, of whatever shape.

    Raises:
        SpecError: it is none; names ``name``.
    """
    try:
        array = np.asarray(value)
        if array.dtype == object:  # such as numbers among None, which becomes NaN
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise SpecError(f"'{name}' is {_shown(value)}; it takes numbers ({error})") from error
    if array.dtype.kind in _NO_NUMBERS or value is None:
        raise SpecError(f"'{name}' is {_shown(value)}; it takes numbers")
    return array


def _only(value: Any) -> float | int | bool | None:
    """The one number in ``value``; None if it is something else."""
    if isinstance(value, int | float):
        return value if abs(value) < 2**1000 or not isinstance(value, int) else None
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    if array.size != 1 or array.dtype.kind not in "biuf":
        return None
    one: float | int | bool = array.item()
    return one


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
