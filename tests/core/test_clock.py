"""One clock, and a fake that tests move by hand."""

import time

import pytest

from silri.core.clock import FakeClock, MonotonicClock


def test_the_real_clock_never_goes_back_and_sleeps():
    clock = MonotonicClock()
    start = clock.now()
    clock.sleep(0.01)
    assert clock.now() - start >= 0.01


def test_a_sleep_that_is_already_over_returns_at_once():
    start = time.monotonic()
    MonotonicClock().sleep(-5.0)
    MonotonicClock().sleep(0.0)
    assert time.monotonic() - start < 1.0


def test_the_fake_moves_only_when_told():
    clock = FakeClock(10.0)
    assert clock.now() == clock.now() == 10.0
    clock.advance(2.5)
    clock.sleep(0.5)
    clock.sleep(-1.0)
    assert clock.now() == 13.0


def test_the_fake_does_not_go_back():
    with pytest.raises(ValueError, match="cannot go back"):
        FakeClock().advance(-0.1)
