"""Measuring a run: intervals, thresholds, figures."""
