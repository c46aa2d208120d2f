"""The robot moves as commanded, stops at walls, and measures and sees what is there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from sana_wm_ros.geometry import se2
from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.motion_models import max_curvature, step_towards, violation
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.odometry import DriftingOdometry
from sana_wm_ros.simulation.robot import Camera, Handling
from sana_wm_ros.simulation.simulator import Simulator, sector_minimum
from sana_wm_ros.simulation.wheels import MOTOR_RESERVE, TIME_STEP_S, FreeRobot, wheels_after


def test_straight_command_moves_by_speed_times_time(blind_robot: Simulator) -> None:
    blind_robot.place(np.array([-2.0, 0.0, 0.0]))
    assert not blind_robot.hold((0.5, 0.0), 4.0)
    x, y, yaw = blind_robot.pose_3
    # 4 s at 0.5 m/s, less the way lost while speeding up, v^2 / (2 * 4 a) = 0.03 m, and to the lag, v tau = 0.03 m
    assert x == pytest.approx(-2.0 + 2.0 - 0.03 - 0.03, abs=0.01)
    assert y == pytest.approx(0.0, abs=1e-9) and yaw == pytest.approx(0.0, abs=1e-9)


def test_steady_turn_follows_the_exact_arc(blind_robot: Simulator) -> None:
    blind_robot.hold((0.4, 0.8), 1.0)  # past the lag
    before_3 = blind_robot.pose_3
    blind_robot.hold((0.4, 0.8), 2.0)
    expected_3 = se2.compose(before_3, se2.exp([0.4, 0.0, 0.8], 2.0))
    np.testing.assert_allclose(blind_robot.pose_3, expected_3, atol=1e-3)


def test_wall_stops_the_robot_and_is_recorded(blind_robot: Simulator) -> None:
    blind_robot.place(np.array([-2.0, 0.0, math.pi]))  # 0.8 m of free way to the wall at x = -3
    assert not blind_robot.hold((0.5, 0.0), 1.0)
    assert blind_robot.hold((0.5, 0.0), 3.0)
    assert blind_robot.touching
    assert blind_robot.pose_3[0] == pytest.approx(-2.8, abs=0.01)
    assert abs(blind_robot.twist_2[0]) < 0.05


def test_robot_leaves_a_wall_again(blind_robot: Simulator) -> None:
    blind_robot.place(np.array([-2.7, 0.0, math.pi]))
    blind_robot.hold((0.5, 0.0), 1.0)
    blind_robot.hold((-0.2, 0.0), 1.5)
    assert not blind_robot.touching
    assert blind_robot.pose_3[0] > -2.7


def test_ranges_equal_the_distances_of_the_room(blind_robot: Simulator) -> None:
    ranges_R = blind_robot.ranges_R()  # every 5 degrees from the origin
    assert ranges_R[0] == pytest.approx(1.8)  # the column: 2.0 - 0.2
    assert ranges_R[18] == pytest.approx(2.0)  # left wall
    assert ranges_R[36] == pytest.approx(3.0)  # behind
    assert ranges_R[54] == pytest.approx(2.0)  # right wall
    assert ranges_R[9] == pytest.approx(2.0 * math.sqrt(2))  # 45 degrees: the left wall at y = 2


def test_ranges_end_at_the_sensor_s_reach(blind_robot: Simulator) -> None:
    blind_robot.place(np.array([50.0, 50.0, 0.0]))  # outside the building, nothing near
    assert (blind_robot.ranges_R() == 8.0).all()


def test_sectors_begin_ahead_and_go_counter_clockwise(blind_robot: Simulator) -> None:
    blind_robot.place(np.array([0.0, 0.0, math.pi / 2]))  # facing the wall at y = 2
    clearance_K = blind_robot.clearance_K()
    assert clearance_K[0] == pytest.approx(2.0, abs=1e-3)
    assert clearance_K[6] == pytest.approx(3.0, abs=1e-3)  # left of it: the wall at x = -3
    assert clearance_K[18] == pytest.approx(1.8, abs=1e-3)  # right of it: the column


def test_a_sector_takes_the_rays_on_both_sides_of_its_centre() -> None:
    ranges_R = np.full(72, 5.0)
    ranges_R[[71, 4]] = 1.0, 2.0  # 5 degrees right of ahead; 5 degrees more than sector 1's centre
    sectors_K = sector_minimum(ranges_R)
    assert sectors_K[0] == 1.0 and sectors_K[1] == 2.0
    assert (sectors_K[2:] == 5.0).all()


def robot_with(square_room: FloorPlan, **handling: float) -> Simulator:
    return Simulator(
        square_room,
        robot=Robot(),
        camera=Camera(),
        start_3=np.array([-2.0, -1.0, 0.0]),
        handling=Handling(**handling),
        pictures=False,
    )


@pytest.mark.parametrize("drive", ["differential", "ackermann"])
def test_wheels_keep_the_limits_that_planning_knows(drive: str) -> None:
    """The scalar form against the planner's own, on commands beyond all limits."""
    rng = np.random.default_rng(0)
    robot = Robot(drive=drive)
    strong = replace(
        robot,
        max_acceleration_mps2=MOTOR_RESERVE * robot.max_acceleration_mps2,
        max_yaw_acceleration_radps2=MOTOR_RESERVE * robot.max_yaw_acceleration_radps2,
    )
    wheels, reference_3 = (0.0, 0.0), np.zeros(3)
    for _ in range(400):
        if rng.random() < 0.05 or _ == 0:
            command = tuple(rng.normal(0.0, (0.6, 1.5)))
        before = wheels
        wheels = wheels_after(robot, command, wheels)
        if drive == "differential":
            wanted_3 = np.array([command[0], 0.0, command[1]])
            reference_3 = step_towards(strong, wanted_3, reference_3, TIME_STEP_S)
            np.testing.assert_allclose(wheels, reference_3[[0, 2]], atol=1e-12)
        twists = np.array([[wheels[0], 0.0, wheels[1]]])
        assert (
            drive == "ackermann"
            or violation(strong, twists, [before[0], 0.0, before[1]], TIME_STEP_S) is None
        )
        assert abs(wheels[1]) <= max_curvature(robot) * abs(wheels[0]) + 1e-9 or drive == "differential"


def test_a_free_robot_does_what_the_simulated_one_does_until_it_meets_something(
    square_room: FloorPlan,
) -> None:
    handling, rng = Handling(latency_s=0.05, slip_along=0.02, slip_turn=0.03), np.random.default_rng(2)
    real = Simulator(
        square_room,
        robot=Robot(),
        camera=Camera(),
        start_3=np.array([-2.0, 0.0, 0.0]),
        handling=handling,
        pictures=False,
    )
    free = FreeRobot(Robot(), handling, real.pose_3)
    for _ in range(40):
        command = float(rng.uniform(-0.1, 0.3)), float(rng.normal(0.0, 0.6))
        assert not real.hold(command, 0.125)
        free.hold(command, 0.125)
    np.testing.assert_allclose(free.pose_3, real.pose_3, atol=1e-4)


def test_latency_delays_the_motion_by_just_that(square_room: FloorPlan) -> None:
    late, prompt = robot_with(square_room, latency_s=0.25), robot_with(square_room)
    late.hold((0.4, 0.3), 0.25)
    np.testing.assert_array_equal(late.pose_3, [-2.0, -1.0, 0.0])
    late.hold((0.4, 0.3), 1.0)
    prompt.hold((0.4, 0.3), 1.0)
    np.testing.assert_allclose(late.pose_3, prompt.pose_3, atol=1e-9)


def test_slip_takes_its_share_of_the_way_and_of_the_turn(square_room: FloorPlan) -> None:
    for command, slip, axis in (((0.4, 0.0), {"slip_along": 0.1}, 0), ((0.0, 0.8), {"slip_turn": 0.1}, 2)):
        moved = []
        for simulator in (robot_with(square_room), robot_with(square_room, **slip)):
            simulator.hold(command, 2.0)
            moved.append(simulator.pose_3[axis] - (-2.0 if axis == 0 else 0.0))
        assert moved[1] / moved[0] == pytest.approx(0.9, abs=1e-3)


def test_odometry_counts_the_wheels_and_so_not_the_slip() -> None:
    before_3, after_3 = np.zeros(3), np.array([0.9, 0.0, 0.45])  # of 1 m and 0.5 rad at the wheels
    exact = dict(scale_error=0.0, turn_error=0.0, noise_per_sqrt_m=0.0, noise_per_sqrt_rad=0.0)
    odometry = DriftingOdometry(before_3, np.random.default_rng(0), slip_along=0.1, slip_turn=0.1, **exact)
    said_3 = odometry.update(before_3, after_3)
    assert said_3[2] == pytest.approx(0.5)
    assert np.hypot(*said_3[:2]) == pytest.approx(1.0, abs=0.01)


def test_a_command_that_is_not_finite_is_refused(blind_robot: Simulator) -> None:
    with pytest.raises(ValueError, match="not finite"):
        blind_robot.hold((float("nan"), 0.0), 0.1)
    with pytest.raises(ValueError, match="latency_s is nan"):
        Handling(latency_s=float("nan"))


def test_part_of_a_time_step_is_refused(blind_robot: Simulator) -> None:
    with pytest.raises(ValueError, match="whole number of steps"):
        blind_robot.hold((0.1, 0.0), 0.02)


def test_blind_simulator_says_why_it_cannot_look(blind_robot: Simulator) -> None:
    with pytest.raises(RuntimeError, match="pictures=False"):
        blind_robot.look()


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("pitch_deg", [0.0, 10.0])
@pytest.mark.parametrize("yaw_deg", [-25.0, 0.0, 25.0])
def test_camera_sees_the_column_where_its_pose_says(
    square_room: FloorPlan, yaw_deg: float, pitch_deg: float
) -> None:
    camera = Camera(pitch_rad=math.radians(pitch_deg))
    pose_3 = np.array([0.3, 0.1, math.radians(yaw_deg)])
    with Simulator(square_room, robot=Robot(), camera=camera, start_3=pose_3) as simulator:
        picture = simulator.look().astype(int)
    red_HW = (picture[..., 0] > 120) & (picture[..., 1] < 60) & (picture[..., 2] < 60)
    rows, columns = np.nonzero(red_HW)
    T_world_camera = camera_poses(pose_3, camera.T_base_camera_44)
    fx, fy, cx, cy = camera.intrinsics_4

    def pixel(x: float, y: float, z: float) -> tuple[float, float]:
        right, down, ahead, _ = np.linalg.inv(T_world_camera) @ (x, y, z, 1.0)
        return cx + fx * right / ahead, cy + fy * down / ahead

    assert columns.mean() == pytest.approx(pixel(2.0, 0.0, 0.5)[0], abs=1.0)
    eye = T_world_camera[:2, 3]
    front = np.array([2.0, 0.0]) - 0.2 * (np.array([2.0, 0.0]) - eye) / np.linalg.norm([2.0, 0.0] - eye)
    assert rows.max() == pytest.approx(pixel(*front, 0.0)[1], abs=1.2)  # its foot nearest to the camera


@pytest.mark.usefixtures("pictures")
def test_pictures_do_not_depend_on_what_was_drawn_before(square_room: FloorPlan) -> None:
    poses = [np.array([0.1 * i, 0.0, 0.3 * i]) for i in range(4)]
    with Simulator(square_room, robot=Robot(), camera=Camera(), start_3=poses[0]) as simulator:
        first = simulator.look()
        for pose_3 in poses[1:]:
            simulator.place(pose_3)
            simulator.look()
        simulator.place(poses[0])
        np.testing.assert_array_equal(simulator.look(), first)
