"""Costs to colours: order, ends, and costs that are no numbers."""

import numpy as np

from sana_wm_ros.evaluation.colours import CONTACT_RGB, UNKNOWN_RGB, cost_colours, cost_range


def _lightness(colours):
    return colours.astype(float) @ [0.2126, 0.7152, 0.0722]


def test_the_cheapest_is_the_brightest_and_lightness_falls_steadily():
    lightness = _lightness(cost_colours(np.linspace(3.0, 9.0, 20)))
    assert (np.diff(lightness) < 0).all()


def test_costs_that_are_not_finite_are_grey_and_leave_the_scale_alone():
    clean, dirty = cost_colours([1.0, 2.0]), cost_colours([1.0, 2.0, np.nan, np.inf])
    assert (dirty[:2] == clean).all()
    assert (dirty[2:] == UNKNOWN_RGB).all()


def test_equal_costs_and_no_costs_have_colours_too():
    assert len(np.unique(cost_colours([4.0, 4.0, 4.0]), axis=0)) == 1
    assert cost_colours([]).shape == (0, 3)
    assert (cost_colours([np.nan]) == UNKNOWN_RGB).all()


def test_no_cost_looks_like_contact():
    distance = np.abs(cost_colours(np.linspace(0, 1, 100)).astype(int) - CONTACT_RGB).max(axis=1)
    assert distance.min() > 60


def test_the_range_is_never_empty():
    for costs in ([], [np.nan], [5.0], [0.0, 0.0], [-3.0, -3.0]):
        low, high = cost_range(costs)
        assert high > low
