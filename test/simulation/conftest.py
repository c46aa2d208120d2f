"""A room of known size for the simulator's tests, and the reason to skip where MuJoCo cannot draw."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator is the extra 'sim': pip install 'sana_wm_ros[sim]'")
pytest.importorskip("scipy", reason="the simulator is the extra 'sim': pip install 'sana_wm_ros[sim]'")

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.floor_plan import FloorPlan, Rect, Solid
from sana_wm_ros.simulation.gl import NoPictures, open_gl_context
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.simulator import Simulator


@pytest.fixture(scope="session")
def pictures() -> None:
    """Ask for this where the test looks through the camera."""
    try:
        open_gl_context(96, 64)
    except NoPictures as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def square_room() -> FloorPlan:
    """Inner faces at x = +-3 and y = +-2; a red column of radius 0.2 at (2, 0); nothing else."""
    grey = (0.5, 0.5, 0.5)
    walls = [
        Solid(shape="box", center=(x, y, 1.2), half=(hx, hy, 1.2), rgb=grey)
        for x, y, hx, hy in ((3.1, 0, 0.1, 2.2), (-3.1, 0, 0.1, 2.2), (0, 2.1, 3.2, 0.1), (0, -2.1, 3.2, 0.1))
    ]
    red = Solid(
        shape="cylinder", center=(2.0, 0.0, 0.5), half=(0.2, 0.2, 0.5), rgb=(1.0, 0.0, 0.0), kind="furniture"
    )
    return FloorPlan(
        seed=0,
        family="lab",
        rooms=(Rect(x0=-3.2, y0=-2.2, x1=3.2, y1=2.2),),
        doors=(),
        solids=(*walls, red),
        floors=((0.2, 0.3, 0.2),),
        ceiling=(0.9, 0.9, 0.9),
    )


@pytest.fixture
def blind_robot(square_room: FloorPlan) -> Simulator:
    """A robot in the middle of the square room, facing the column; it has no camera."""
    return Simulator(square_room, robot=Robot(), camera=Camera(), start_3=np.zeros(3), pictures=False)
