"""``SimulatorWorldModel`` imagines what MuJoCo then does, keeps the protocol, and can be planned in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sana_wm_ros.geometry import se2
from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.critic_manager import CriticManager
from sana_wm_ros.planning.planner import Planner, PlannerSettings
from sana_wm_ros.planning.proposals import ProposalSettings
from sana_wm_ros.planning.types import Goal, Robot, RobotState
from sana_wm_ros.simulation.drive import DriveConfig, draw_scene
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.movers import Mover
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.simulator import Simulator
from sana_wm_ros.simulation.world_model import SimulatorContext, SimulatorWorldModel
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.protocol import Intrinsics, Rollout, WorldModel

ROBOT, CAMERA = Robot(), Camera()
# Imagination obeys at once; against MuJoCo it is compared with a robot that nearly does.
PROMPT = Robot(max_acceleration_mps2=50.0, max_yaw_acceleration_radps2=50.0)
FIELDS = [field.name for field in dataclasses.fields(Rollout)]
BLACK = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
PERSON = Mover(
    track_P3=((0.0, -2.0, 1.2), (4.0, 0.0, 1.2)),
    closed=False,
    begin_s=0.0,
    radius_m=0.25,
    height_m=1.7,
    rgb=(0.2, 0.2, 0.8),
)


def intrinsics(camera: Camera) -> Intrinsics:
    fx, fy, cx, cy = (float(value) for value in camera.intrinsics_4)
    return Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy)


def cameras(poses: np.ndarray, camera: Camera = CAMERA) -> torch.Tensor:
    return torch.from_numpy(camera_poses(poses, camera.T_base_camera_44))


def seen_at(model: SimulatorWorldModel, pose_3: np.ndarray) -> SimulatorContext:
    context = model.start(intrinsics(model.camera))
    return context.extend(BLACK, cameras(np.asarray(pose_3, float)[None], model.camera))


def room_model(plan: FloorPlan, **extra: object) -> SimulatorWorldModel:
    return SimulatorWorldModel(plan, robot=ROBOT, camera=CAMERA, **extra)  # type: ignore[arg-type]


def assert_equal(one: Rollout, other: Rollout, atol: float = 1e-5) -> None:
    for name in FIELDS:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=atol, rtol=0)


@pytest.mark.parametrize("seed", [1_000_002, 1_000_005, 1_000_011])
def test_what_it_imagines_is_what_mujoco_does(seed: int) -> None:
    """Constant arcs from one place, each driven in MuJoCo and imagined: contact, place, free distance."""
    config = DriveConfig()
    scene = draw_scene(seed, config)
    model = SimulatorWorldModel(scene.plan, robot=config.robot, camera=scene.camera)
    twists_N3 = np.array([[v, 0.0, w] for v in (0.2, 0.5) for w in (-0.5, 0.0, 0.3)])
    frames = 20
    twists_NF3 = np.repeat(twists_N3[:, None], frames, axis=1)
    asked_NF3 = se2.integrate(np.tile(scene.start_3, (6, 1)), twists_NF3, 0.5)
    _, rollout = seen_at(model, scene.start_3).fork(6).imagine(cameras(asked_NF3, scene.camera))
    hits = 0
    for n, twist_3 in enumerate(twists_N3):
        simulator = Simulator(
            scene.plan, robot=PROMPT, camera=scene.camera, start_3=scene.start_3, pictures=False
        )
        touched_F, clearance_F, poses_F = [], [], []
        for _ in range(frames):
            touched_F.append(simulator.hold((twist_3[0], twist_3[2]), 0.5))
            poses_F.append(simulator.pose_3)
            clearance_F.append(simulator.clearance_K())
            if touched_F[-1]:
                break
        foretold = rollout.collision_NF[n].bool().tolist()
        free = len(touched_F) - 1
        # Wheels lag 0.06 s behind the command, so contact may come one frame later than foretold.
        assert not any(foretold[: max(0, free - 1)])
        if touched_F[-1]:
            hits += 1
            assert foretold[free]
            imagined_3 = rollout.latents_NFCHW[n, free, -1, 0, 1:4].double().numpy()
            assert np.hypot(*(imagined_3 - poses_F[free])[:2]) < 0.12  # it scrapes along the wall a little
        else:
            assert not any(foretold)
        if free > 1:
            off_K = np.abs(rollout.clearance_NFK[n, free - 2].numpy() - clearance_F[free - 2])
            assert np.median(off_K) < 0.06
    assert hits >= 2


def test_a_robot_that_touches_a_wall_stays_there_whatever_it_is_told(square_room: FloorPlan) -> None:
    model = room_model(square_room)
    forward = np.array([[-1.0 + 0.25 * f, 0.0, 0.0] for f in range(1, 9)])  # the column's edge is at x = 1.8
    asked = np.concatenate([forward, forward[::-1]])[None]
    _, rollout = seen_at(model, [-1.0, 0.0, 0.0]).fork(1).imagine(cameras(asked))
    # It touches when its centre is at 1.6: but the way ends at 1.0, so nothing is touched ...
    assert not rollout.collision_NF.any()
    asked[..., 0] += 1.0
    batch = seen_at(model, [0.0, 0.0, 0.0]).fork(1)
    _, rollout = batch.imagine(cameras(asked))
    # ... and one metre on it is, in the frame from 1.5 to 1.75, and stays so on the way back.
    assert rollout.collision_NF[0].tolist() == [0.0] * 6 + [1.0] * 10
    x_F = rollout.latents_NFCHW[0, :, -1, 0, 1]
    assert x_F[6:].sub(1.6).abs().max() < 2e-4
    assert rollout.clearance_NFK[0, -1, 0].item() == pytest.approx(0.2, abs=1e-3)


def test_a_robot_that_begins_in_contact_may_leave_it(square_room: FloorPlan) -> None:
    model = room_model(square_room)
    away = np.array([[2.81 - 0.2 * f, -1.0, 0.0] for f in range(1, 5)])  # 1 cm into the wall at x = 3
    into = np.array([[2.81 + 0.05 * f, -1.0, 0.0] for f in range(1, 5)])
    _, rollout = seen_at(model, [2.81, -1.0, 0.0]).fork(2).imagine(cameras(np.stack([away, into])))
    assert rollout.collision_NF.tolist() == [[0.0] * 4, [1.0] * 4]


@pytest.mark.parametrize("crowded", [False, True])
def test_forks_selections_and_pieces_change_nothing(square_room: FloorPlan, crowded: bool) -> None:
    plan = dataclasses.replace(square_room, movers=(PERSON,) if crowded else ())
    model, rng = room_model(plan), np.random.default_rng(3)
    twists_NF3 = np.stack(
        [rng.uniform(-0.1, 0.6, (5, 24)), np.zeros((5, 24)), rng.normal(0, 0.5, (5, 24))], -1
    )
    poses = cameras(se2.integrate(np.tile([-1.0, 0.2, 0.5], (5, 1)), twists_NF3, 0.5))
    context = seen_at(model, [-1.0, 0.2, 0.5])
    _, whole = context.fork(5).imagine(poses)
    assert 0 < whole.collision_NF.mean() < 1
    batch, first = context.fork(5).imagine(poses[:, :7])
    _, second = batch.imagine(poses[:, 7:])
    assert_equal(Rollout.cat([first, second]), whole)
    some = torch.tensor([4, 1])
    _, chosen = batch.select(some).imagine(poses[some, 7:])
    assert_equal(chosen, second.select(some))
    _, alone = context.fork(1).imagine(poses[2:3])
    assert_equal(alone, whole.select(torch.tensor([2])))


def test_a_mover_in_the_way_is_foretold_as_mujoco_has_it(square_room: FloorPlan) -> None:
    plan = dataclasses.replace(square_room, movers=(PERSON,))
    start_3, frames = np.array([-2.6, 0.2, np.pi / 2]), 12
    twists_NF3 = np.tile([[0.3, 0.0, -0.2]], (frames, 1))[None]
    model = room_model(plan)
    _, rollout = seen_at(model, start_3).fork(1).imagine(cameras(se2.integrate(start_3, twists_NF3, 0.5)))
    simulator = Simulator(plan, robot=PROMPT, camera=CAMERA, start_3=start_3, pictures=False)
    for f in range(frames):
        if simulator.hold((0.3, -0.2), 0.5):
            break
        off_K = np.abs(rollout.clearance_NFK[0, f].numpy() - simulator.clearance_K())
        assert np.median(off_K) < 0.03 and off_K.max() < 0.2  # the wheels lag: 2 cm and a degree
    assert f > 3
    assert (rollout.clearance_NFK[0, 3].numpy().min()) < 0.8


def test_people_are_run_into_only_by_the_robot_s_own_doing(square_room: FloorPlan) -> None:
    plan = dataclasses.replace(square_room, movers=(PERSON,))
    on_its_track = np.array([-0.9, 1.2, np.pi])
    stays = np.tile(on_its_track, (24, 1))
    meets = se2.integrate(on_its_track, np.tile([0.4, 0.0, 0.0], (24, 1)), 0.5)
    _, rollout = seen_at(room_model(plan), on_its_track).fork(2).imagine(cameras(np.stack([stays, meets])))
    assert not rollout.collision_NF[0].any()
    assert rollout.collision_NF[1].any()
    assert rollout.clearance_NFK[0, 3, 0] < 1.0  # someone stands before it


def test_the_truth_undoes_the_odometry_s_drift_and_knows_the_movers(square_room: FloorPlan) -> None:
    plan = dataclasses.replace(square_room, movers=(PERSON,))
    simulator = Simulator(plan, robot=ROBOT, camera=CAMERA, start_3=np.array([0.0, 0.0, 0.0]), pictures=False)
    simulator.hold((0.2, 0.1), 2.0)
    model = room_model(plan, truth=lambda: simulator.truth)
    drifted_3 = np.array([5.0, -3.0, 2.0])
    batch = seen_at(model, drifted_3).fork(1)
    asked_3 = se2.compose(drifted_3, [0.1, 0.0, 0.0])
    _, rollout = batch.imagine(cameras(asked_3[None, None]))
    expected_3 = se2.compose(simulator.pose_3, [0.1, 0.0, 0.0])
    simulator.hold((0.0, 0.0), 0.5)
    time_s, x, y, yaw, person_x, person_y = rollout.latents_NFCHW[0, 0, -1, 0].tolist()
    np.testing.assert_allclose([x, y, yaw], expected_3, atol=1e-5)
    assert time_s == pytest.approx(2.5)
    assert (person_x, person_y) == pytest.approx((-0.75, 1.2), abs=1e-5)  # 2.5 s at 0.5 m/s from x = -2


def test_a_recorded_way_moves_the_movers_as_it_did(square_room: FloorPlan) -> None:
    """Without the truth at hand, contexts step the movers along the poses that were measured."""
    plan = dataclasses.replace(square_room, movers=(PERSON,))
    simulator = Simulator(
        plan, robot=ROBOT, camera=CAMERA, start_3=np.array([0.2, 1.2, np.pi]), pictures=False
    )
    poses_T3 = [simulator.pose_3]
    for _ in range(48):
        simulator.hold((0.12, 0.0), 0.125)
        poses_T3.append(simulator.pose_3)
    frames = BLACK.expand(49, -1, -1, -1)
    model = room_model(plan)
    whole = model.start(intrinsics(CAMERA)).extend(frames, cameras(np.array(poses_T3)))
    np.testing.assert_allclose(whole.crowd.phase_M, simulator.truth.crowd.phase_M, atol=1e-9)
    assert whole.latent_frames == 13
    parts = model.start(intrinsics(CAMERA)).extend(frames[:9], cameras(np.array(poses_T3[:9])))
    parts = parts.extend(frames[9:], cameras(np.array(poses_T3[9:])))
    np.testing.assert_allclose(parts.crowd.phase_M, whole.crowd.phase_M)
    assert parts.time_s == whole.time_s == 6.0


def test_near_embeddings_are_places_soon_reached() -> None:
    scene = draw_scene(1_000_004, DriveConfig())
    model = SimulatorWorldModel(scene.plan, robot=ROBOT, camera=CAMERA)
    navigator = scene.ways.navigator(False)
    cells = np.random.default_rng(0).choice(len(navigator.cells_P2), 80)
    points_P2 = navigator.cells_P2[cells]
    embedded_PE = model.landmarks.embed(np.column_stack([points_P2, np.zeros(80)]))
    np.testing.assert_allclose(np.linalg.norm(embedded_PE, axis=1), 1.0, atol=1e-6)
    apart_P = 1 - embedded_PE @ embedded_PE[0]
    cost_P = navigator.search(*points_P2[0]).cost_P[cells]
    rank = lambda values: np.argsort(np.argsort(values))  # noqa: E731
    assert np.corrcoef(rank(apart_P), rank(cost_P))[0, 1] > 0.9


def test_the_planner_drives_around_what_is_in_the_way(square_room: FloorPlan) -> None:
    critics = CriticManager.load(["goal_pose", "progress", "collision", "clearance", "smoothness"])
    settings = PlannerSettings(proposals=ProposalSettings(count=24, frames=60))
    planner = Planner(ROBOT, CAMERA.T_base_camera_44, critics, settings)
    model, start_3 = room_model(square_room), np.array([0.6, 0.0, 0.0])
    result = planner.plan(
        seen_at(model, start_3),
        RobotState(time_s=0.0, pose_3=start_3, twist_3=np.zeros(3)),
        Goal(x_m=2.65, y_m=0.0),
        60.0,
        np.random.default_rng(0),
    )
    assert result.plan is not None and result.futures is not None and result.costs_N is not None
    straight = result.futures.candidates.origins.index("goal line")
    assert result.futures.rollout.collision_NF[straight].any()
    assert np.hypot(*(result.plan.poses_F3[-1, :2] - [2.65, 0.0])) < 0.3
    simulator = Simulator(square_room, robot=ROBOT, camera=CAMERA, start_3=start_3, pictures=False)
    for pose_3 in result.plan.poses_F3:
        simulator.place(pose_3)
        assert not simulator.touching


@pytest.mark.usefixtures("pictures")
def test_decoding_draws_what_the_camera_would_see(square_room: FloorPlan) -> None:
    plan = dataclasses.replace(square_room, movers=(PERSON,))
    model, start_3 = room_model(plan), np.array([-1.0, 0.2, 0.5])
    asked_NF3 = se2.integrate(start_3, np.tile([[[0.3, 0.0, 0.2]]], (1, 2, 1)), 0.5)
    _, rollout = seen_at(model, start_3).fork(1).imagine(cameras(asked_NF3))
    frames = model.decode(rollout.latents_NFCHW[0])
    assert frames.shape == (8, 64, 96, 3) and frames.dtype == torch.uint8
    with Simulator(plan, robot=ROBOT, camera=CAMERA, start_3=start_3) as simulator:
        simulator.set_moment(1.0, asked_NF3[0, -1], np.array([[-1.5, 1.2]]))
        difference = np.abs(frames[-1].numpy().astype(int) - simulator.look())
    assert difference.max() <= 3  # latents are float32
    assert (frames[0] != frames[-1]).any()
    model.close()


@pytest.mark.usefixtures("pictures")
def test_an_autoencoder_s_latents_are_those_of_the_true_pictures(square_room: FloorPlan) -> None:
    torch.manual_seed(0)
    small = AutoencoderConfig(
        latent_channels=5, widths=(8, 8, 8), encoder_depths=(1, 1, 1), decoder_depths=(1, 1, 1)
    )
    autoencoder = Autoencoder(small).eval()
    model, plain = room_model(square_room, autoencoder=autoencoder), room_model(square_room)
    start_3 = np.array([-1.0, 0.2, 0.5])
    poses = cameras(se2.integrate(start_3, np.tile([[[0.3, 0.0, 0.2]]], (2, 2, 1)), 0.5))
    _, rollout = seen_at(model, start_3).fork(2).imagine(poses)
    assert rollout.latents_NFCHW.shape == (2, 2, *model.spec.latent_shape) == (2, 2, 5, 4, 6)
    _, true = seen_at(plain, start_3).fork(2).imagine(poses)
    groups = plain.decode(true.latents_NFCHW[1]).unflatten(0, (-1, 4))
    with torch.no_grad():
        expected = autoencoder.normalise(autoencoder.encode_groups(groups))
    torch.testing.assert_close(rollout.latents_NFCHW[1], expected, atol=2e-3, rtol=0)  # a pixel may round
    assert model.decode(rollout.latents_NFCHW[1]).shape == (8, 64, 96, 3)
    model.close()
    plain.close()


def test_it_is_a_world_model_and_refuses_what_makes_no_sense(square_room: FloorPlan) -> None:
    model = room_model(square_room)
    assert isinstance(model, WorldModel)
    empty = model.start(intrinsics(CAMERA))
    context = seen_at(model, [0.0, 0.0, 0.0])
    nan = cameras(np.array([[np.nan, 0.0, 0.0]]))
    refusals: list[tuple[Callable[[], object], str]] = [
        (lambda: empty.fork(2), "nothing was seen yet"),
        (lambda: context.fork(0), "expected at least 1"),
        (lambda: empty.extend(BLACK, nan), "not finite"),
        (lambda: context.fork(1).imagine(nan[None]), "not finite"),
        (lambda: context.fork(3).imagine(cameras(np.zeros((2, 4, 3)))), "expected \\(3, any, 4, 4\\)"),
        (lambda: context.fork(2).select(torch.tensor([2])), "expected some of 0 to 1"),
        (lambda: context.extend(BLACK, cameras(np.zeros((1, 3)))), "keep the rest"),
        (lambda: model.decode(torch.zeros(1, 3, 3, 3)), "latents have shape"),
        (lambda: model.decode(torch.full((1, *model.spec.latent_shape), torch.nan)), "not finite"),
        (lambda: model.start(Intrinsics(fx=float("nan"), fy=1, cx=1, cy=1)), "fx is nan"),
    ]
    for ask, words in refusals:
        with pytest.raises(ValueError, match=words):
            ask()
