"""Movers walk their tracks by the clock, give way to the robot, and are the same in MuJoCo."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.movers import TICK_S, Crowd, Mover, Movers
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.simulator import Simulator

FAR_2 = np.array([90.0, 90.0])


def walker(**changes: object) -> Mover:
    """Walks 2 m along x in 4 s, and back."""
    values: dict[str, object] = dict(
        track_P3=((0.0, -2.0, 1.2), (4.0, 0.0, 1.2)), closed=False, begin_s=0.0, radius_m=0.25, height_m=1.7
    )
    return Mover(rgb=(0.2, 0.2, 0.8), **(values | changes))  # type: ignore[arg-type]


def stepped(movers: Movers, ticks: int, robot_2: np.ndarray = FAR_2) -> list[Crowd]:
    crowds = [movers.begin()]
    for _ in range(ticks):
        crowds.append(movers.after_tick(crowds[-1], robot_2, 0.2))
    return crowds


def test_an_open_track_is_walked_to_and_fro() -> None:
    movers = Movers((walker(),))
    x_T = [movers.places(crowd)[0, 0] for crowd in stepped(movers, 80)]
    # 0.5 m/s: at 4 s the end, at 8 s the beginning, at 10 s half way again
    np.testing.assert_allclose([x_T[i] for i in (0, 16, 32, 48, 64, 80)], [-2, -1, 0, -1, -2, -1], atol=1e-9)


def test_a_closed_track_begins_again() -> None:
    round_trip = ((0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (2.0, 1.0, 1.0), (3.0, 0.0, 0.0))
    movers = Movers((walker(track_P3=round_trip, closed=True, begin_s=2.5),))
    places_T2 = [movers.places(crowd)[0] for crowd in stepped(movers, 12)]
    np.testing.assert_allclose(places_T2[12], [1.0, 0.0], atol=1e-9)  # 2.5 + 1.5 = 4 s = 1 s


def test_a_mover_turns_round_before_the_robot_and_never_touches_it() -> None:
    movers, robot_2 = Movers((walker(),)), np.array([-0.6, 1.2])
    crowds = stepped(movers, 160, robot_2)
    gap_T = [np.linalg.norm(movers.places(crowd)[0] - robot_2) - 0.2 - 0.25 for crowd in crowds]
    assert min(gap_T) >= 0.3 - 1e-9  # manners
    assert {float(crowd.way_M[0]) for crowd in crowds} == {1.0, -1.0}


def test_candidates_have_crowds_of_their_own() -> None:
    movers = Movers((walker(), walker(begin_s=3.0)))
    crowd = movers.begin().spread(2)
    robots_N2 = np.array([[-1.2, 1.2], [90.0, 90.0]])
    for _ in range(16):
        crowd = movers.after_tick(crowd, robots_N2, 0.2)
    alone = stepped(movers, 16)[-1]
    np.testing.assert_allclose(crowd.phase_M[1], alone.phase_M)
    assert abs(crowd.phase_M[0, 0] - alone.phase_M[0]) > 0.1


@pytest.mark.parametrize("period_s", [TICK_S, 0.05])
def test_mujoco_s_movers_are_where_the_clock_says(square_room: FloorPlan, period_s: float) -> None:
    """Whatever the rhythm of commands, they decide by ticks of their own."""
    plan = dataclasses.replace(square_room, movers=(walker(),))
    simulator = Simulator(
        plan, robot=Robot(), camera=Camera(), start_3=np.array([0.0, -1.0, 0.0]), pictures=False
    )
    for _ in range(round(3.0 / period_s)):
        simulator.hold((0.0, 0.0), period_s)
    movers = Movers(plan.movers)
    expected = stepped(movers, 24)[-1]
    np.testing.assert_allclose(simulator.truth.crowd.phase_M, expected.phase_M, atol=1e-9)
    assert simulator.time_s == pytest.approx(3.0)
    # At 3 s it stands at (-0.5, 1.2): a ray from (0, -1) in its direction meets it 0.25 m before its centre.
    away_2 = np.array([-0.5, 2.2])
    simulator.place(np.array([0.0, -1.0, np.arctan2(away_2[1], away_2[0])]))
    assert simulator.ranges_R()[0] == pytest.approx(np.linalg.norm(away_2) - 0.25, abs=1e-3)


def test_driving_into_a_mover_is_a_contact_that_stops_the_robot(square_room: FloorPlan) -> None:
    standing = walker(track_P3=((0.0, -1.0, 0.0), (9.0, -1.0, 0.0)))
    plan = dataclasses.replace(square_room, movers=(standing,))
    start_3 = np.array([-2.2, 0.0, 0.0])
    simulator = Simulator(plan, robot=Robot(), camera=Camera(), start_3=start_3, pictures=False)
    assert simulator.hold((0.5, 0.0), 3.0)
    assert simulator.pose_3[0] == pytest.approx(-1.0 - 0.25 - 0.2, abs=0.02)
