"""Markers and films of one planning cycle, by hand: trust on the plan, the candidate that was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from visualization_msgs.msg import Marker

from sana_wm_ros.nodes.diagnostics import critics_statuses
from sana_wm_ros.nodes.visualization import imagined_futures, imagined_to_the_end, rollout_markers
from sana_wm_ros.planning.types import Candidates, Futures, Plan, PlanResult, Robot, RobotState
from sana_wm_ros.world_model.protocol import Rollout

STATE = RobotState(time_s=100.0, pose_3=np.zeros(3), twist_3=np.zeros(3))


def futures(rows: list[int], frames: int) -> Futures:
    """Candidates that drive ahead at 1 m/s, each on a lane of its own; latents hold the row's number."""
    times_F = 0.5 * np.arange(1, frames + 1)
    poses_NF3 = np.zeros((len(rows), frames, 3))
    poses_NF3[:, :, 0] = times_F
    poses_NF3[:, :, 1] = np.array(rows)[:, None]
    return Futures(
        start=STATE,
        candidates=Candidates(
            times_F=times_F,
            poses_NF3=poses_NF3,
            twists_NF3=np.zeros_like(poses_NF3),
            origins=tuple(f"lane {row}" for row in rows),
        ),
        rollout=Rollout(
            latents_NFCHW=torch.tensor(rows).float()[:, None, None, None, None].expand(-1, frames, 1, 1, 1),
            collision_NF=torch.zeros(len(rows), frames),
            clearance_NFK=torch.ones(len(rows), frames, 4),
            uncertainty_NF=torch.zeros(len(rows), frames),
            place_NFE=torch.ones(len(rows), frames, 1),
        ),
        goal=None,
        robot=Robot(),
    )


def result(trust_s: float | None = 2.25) -> PlanResult:
    """Four candidates seen for 2 s, of which 3 and 1 went on to 4 s; 1 is the plan."""
    finalists = futures([3, 1], 8)
    plan = Plan(
        start=STATE,
        times_F=finalists.candidates.times_F,
        poses_F3=finalists.candidates.poses_NF3[1],
        twists_F3=np.zeros((8, 3)),
        cost=1.0,
        valid_until_s=103.0,
        origin="lane 1",
    )
    return PlanResult(
        plan=plan,
        reason="",
        futures=replace(futures([0, 1, 2, 3], 4), proposed=futures([0, 1, 2, 3], 8).candidates),
        costs_N=np.array([4.0, 1.0, 3.0, 2.0]),
        finalists=finalists,
        finalist_index=np.array([3, 1]),
        best=1,
        shares={"collision": np.array([0.4, 0.1, 0.3, 0.2])},
        trust_s=trust_s,
    )


def markers(found: PlanResult, **options: Any) -> list[Marker]:
    given = {"stamp": Time(sec=100), "frame_id": "odom", "most": 2, **options}
    return list(rollout_markers(found, **given).markers)


def test_the_trust_horizon_is_drawn_where_the_plan_will_be_then() -> None:
    disc, text = (marker for marker in markers(result()) if marker.ns == "trust")
    # After 2.25 s at 1 m/s on lane 1.
    assert (disc.pose.position.x, disc.pose.position.y) == pytest.approx((2.25, 1.0))
    assert (text.type, text.text) == (Marker.TEXT_VIEW_FACING, "trusted to 2 s")
    assert disc.header.frame_id == "odom"


@pytest.mark.parametrize("trust_s", [None, 4.5])
def test_where_all_of_the_plan_is_trusted_nothing_is_drawn(trust_s: float | None) -> None:
    assert not [marker for marker in markers(result(trust_s)) if marker.ns == "trust"]


def test_every_marker_goes_by_itself_when_no_newer_one_comes() -> None:
    found = markers(result(), lifetime_s=3.5)
    assert found[0].action == Marker.DELETEALL
    assert {(m.lifetime.sec, m.lifetime.nanosec) for m in found} == {(3, 500_000_000)}
    assert {marker.ns for marker in found[1:]} == {"imagined", "trust"}


def test_the_candidate_that_was_asked_for_is_drawn_thick_though_it_is_not_among_the_best() -> None:
    widths = {m.id: round(m.scale.x, 3) for m in markers(result(), explained=0) if m.ns == "imagined"}
    assert widths == {1: 0.05, 3: 0.015, 0: 0.05}


@pytest.mark.parametrize(
    ("explained", "row", "frames"),
    [(-1, 1, 8), (3, 3, 8), (0, 0, 4), (17, 1, 8)],
    ids=["the best one", "a finalist", "one that was dropped, as far as it got", "one that is not there"],
)
def test_pictures_are_those_of_the_candidate_that_was_asked_for(
    explained: int, row: int, frames: int
) -> None:
    found = imagined_futures(result(), explained)
    assert found is not None
    latents_FCHW = found[0].rollout.latents_NFCHW[found[1]]
    assert latents_FCHW.flatten().tolist() == [row] * frames


def test_one_that_was_dropped_is_imagined_to_its_end_when_somebody_asks() -> None:
    asked: list[int] = []

    def whole(row: int) -> Futures:
        asked.append(row)
        return futures([row], 8)

    found = imagined_to_the_end(replace(result(), imagine_whole=whole), 0)
    shown = imagined_futures(found, 0)
    assert shown is not None and shown[0].rollout.latents_NFCHW[shown[1]].flatten().tolist() == [0] * 8
    (way,) = (m for m in markers(found, explained=0) if m.ns == "imagined" and m.id == 0)
    assert {round(colour.a, 2) for colour in way.colors} == {0.6}, "none of it is drawn as not imagined"
    for row in (-1, 1, 3, 17):
        untouched = replace(result(), imagine_whole=whole)
        assert imagined_to_the_end(untouched, row) is untouched
    assert asked == [0], "the plan and the other finalist were imagined already, and nobody else is there"


def test_free_space_is_drawn_around_the_way_at_the_chosen_seconds() -> None:
    """Rays of 1 m ahead, to the left, behind and to the right of where the robot will be, on lane 1 at 1 m/s."""
    found = [m for m in markers(result(), scan_s=(3.0, 1.0, 60.0)) if m.ns == "imagined scan"]
    assert [m.text for m in found if m.type == Marker.TEXT_VIEW_FACING] == ["+1 s", "+3 s"], (
        "60 s was not imagined"
    )
    near, far = (m for m in found if m.type == Marker.POINTS)
    ends = [(round(point.x, 6), round(point.y, 6)) for point in far.points]
    assert ends == [(4.0, 1.0), (3.0, 2.0), (2.0, 1.0), (3.0, 0.0)]
    assert far.color.a < near.color.a and len({m.id for m in found}) == 4
    assert not [m for m in markers(result()) if m.ns == "imagined scan"]


def test_each_critic_tells_the_share_of_the_candidate_that_was_asked_for() -> None:
    (status,) = critics_statuses("planner", result(), {"collision": 20.0}, [1, 3, 0], 0)
    values = {pair.key: pair.value for pair in status.values}
    assert values["share of the explained"] == values["candidate 0 (lane 0)"] == "0.4"
    assert (values["share of the best"], status.message) == ("0.1", "0.4")
