"""Write a floor plan and a robot as a MuJoCo model."""

from __future__ import annotations

import math
from xml.sax.saxutils import quoteattr

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.floor_plan import ROBOT_HEIGHT_M, WALL_HEIGHT_M, FloorPlan, Solid
from sana_wm_ros.simulation.movers import Mover
from sana_wm_ros.simulation.patterns import Rgb, png
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.wheels import TIME_STEP_S

ROBOT_GROUP = 4
"""MuJoCo geom group of the robot's own body, which its camera does not draw."""
DECOR_GROUP = 3
"""What is drawn, but neither touched nor met by a scanner's beams."""
HULL_GROUP = 5
"""The other way round: what movers are to the robot and its scanner, not drawn."""
_CART_M = 0.8
_SKIN = "0.8 0.62 0.5 1"
_SLAB_M = 0.05


def building_xml(plan: FloorPlan, robot: Robot, camera: Camera, *, samples: int = 4) -> str:
    """The model's XML. ``samples``: anti-aliasing samples per pixel (0 is off)."""
    world = [_floor(plan, index) for index in range(len(plan.rooms))]
    world.append(_ceiling(plan))
    world += [_solid(solid) for solid in plan.solids]
    world += [_mover(mover) for mover in plan.movers]
    return f"""
<mujoco model="building">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{TIME_STEP_S}" gravity="0 0 0" integrator="Euler" cone="elliptic"/>
  <statistic extent="1" center="0 0 0"/>
  <visual>
    <global offwidth="{camera.width}" offheight="{camera.height}"/>
    <quality shadowsize="0" numquads="1" numslices="20" numstacks="10" offsamples="{samples}"/>
    <map znear="0.02" zfar="40"/>
    <headlight active="0"/>
  </visual>
  <default>
    <geom contype="0" conaffinity="0" group="0"/>
    <default class="solid"><geom contype="1" conaffinity="0"/></default>
    <default class="robot">
      <geom contype="0" conaffinity="1" group="{ROBOT_GROUP}" priority="1" friction="0.6 0 0" mass="10"/>
    </default>
  </default>
  {_assets(plan)}
  <worldbody>
    <light name="lamp" directional="true" castshadow="false" dir="{_numbers(*plan.light.direction)}" pos="0 0 5"
           ambient="{_numbers(*plan.light.ambient)}" diffuse="{_numbers(*plan.light.diffuse)}" specular="0 0 0"/>
    {" ".join(world)}
    <body name="robot">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <joint name="yaw" type="hinge" axis="0 0 1"/>
      <geom class="robot" type="capsule" size="{robot.radius_m}"
            fromto="0 0 {robot.radius_m} 0 0 {max(ROBOT_HEIGHT_M - robot.radius_m, robot.radius_m + 0.01)}"/>
      {_camera(camera)}
    </body>
  </worldbody>
</mujoco>"""


def _camera(camera: Camera) -> str:
    """MuJoCo's cameras look along their own -z with y up."""
    sin, cos = math.sin(camera.pitch_rad), math.cos(camera.pitch_rad)
    axes = f"0 -1 0 {sin:.9g} 0 {cos:.9g}"
    return (
        f'<camera name="camera" pos="{camera.forward_m:.9g} 0 {camera.up_m:.9g}" xyaxes="{axes}" '
        f'fovy="{math.degrees(camera.vfov_rad):.9g}"/>'
    )


def _numbers(*values: float) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _floor(plan: FloorPlan, index: int) -> str:
    room = plan.rooms[index]
    size = _numbers(room.width / 2, room.depth / 2, _SLAB_M / 2)
    position = _numbers(*room.center, -_SLAB_M / 2)
    texture = plan.floor_textures[index] if plan.floor_textures else None
    return f'<geom type="box" pos="{position}" size="{size}" {_look(plan.floors[index], texture)}/>'


def _ceiling(plan: FloorPlan) -> str:
    whole = plan.bounds
    size = _numbers(whole.width / 2, whole.depth / 2, _SLAB_M / 2)
    position = _numbers(*whole.center, WALL_HEIGHT_M + _SLAB_M / 2)
    return f'<geom type="box" pos="{position}" size="{size}" rgba="{_numbers(*plan.ceiling, 1)}"/>'


def _solid(solid: Solid) -> str:
    kind = "ellipsoid" if solid.shape == "ball" else solid.shape
    size = (solid.half[0], solid.half[2]) if solid.shape == "cylinder" else solid.half
    turn = f'euler="0 0 {solid.yaw:.6g}"'
    if solid.texture is not None:  # textures lie across a box's own z axis: it becomes the wall's normal
        size, turn = _upright(solid.half)
    klass = ' class="solid"' if solid.blocks else ""
    if solid.kind == "decor":
        klass = f' group="{DECOR_GROUP}"'
    return (
        f'<geom{klass} type="{kind}" pos="{_numbers(*solid.center)}" '
        f'size="{_numbers(*size)}" {turn} {_look(solid.rgb, solid.texture)}/>'
    )


def _mover(mover: Mover) -> str:
    """A body that is moved from outside; what it is made of stops the robot and never gives way."""
    x, y = mover.track_P3[0][1:]
    r, top = mover.radius_m, mover.height_m
    dark = _numbers(*(0.45 * value for value in mover.rgb), 1)
    colour = _numbers(*mover.rgb, 1)
    hull = (
        f'<geom class="solid" group="{HULL_GROUP}" type="cylinder" size="{_numbers(r, top / 2)}" '
        f'pos="{_numbers(0, 0, top / 2)}"/>'
    )
    if top < _CART_M:  # a cart: a round body with a lid
        parts = [_part("cylinder", (r, top / 2), (0, 0, top / 2), colour)]
        parts.append(_part("cylinder", (0.7 * r, 0.03), (0, 0, top), dark))
    else:  # a person: legs and feet, a trunk, a head; all within the hull that is touched
        hip, neck = 0.47 * top, 0.84 * top
        parts = [
            _part(
                "ellipsoid", (0.8 * r, 0.95 * r, (neck - hip) / 2 + 0.06), (0, 0, (neck + hip) / 2), colour
            ),
            _part("sphere", (0.075 * top,), (0, 0, 0.92 * top), _SKIN),
        ]
        for side in (-0.45 * r, 0.45 * r):
            parts.append(_part("cylinder", (0.36 * r, hip / 2), (0, side, hip / 2), dark))
            parts.append(
                _part("ellipsoid", (0.55 * r, 0.36 * r, 0.07), (0.2 * r, side, 0.05), "0.2 0.17 0.15 1")
            )
    return f'<body mocap="true" pos="{_numbers(x, y, 0)}">{hull}{"".join(parts)}</body>'


def _part(shape: str, size: tuple[float, ...], at: tuple[float, ...], colour: str) -> str:
    return (
        f'<geom group="{DECOR_GROUP}" type="{shape}" size="{_numbers(*size)}" pos="{_numbers(*at)}" '
        f'rgba="{colour}"/>'
    )


def _upright(half: tuple[float, float, float]) -> tuple[tuple[float, float, float], str]:
    """Half sizes and orientation of the same axis-aligned slab with its own z along its thin side."""
    if half[0] > half[1]:
        return (half[0], half[2], half[1]), 'xyaxes="1 0 0 0 0 1"'
    return (half[1], half[2], half[0]), 'xyaxes="0 1 0 0 0 1"'


def _look(rgb: Rgb, texture: str | None) -> str:
    return f'rgba="{_numbers(*rgb, 1)}"' if texture is None else f"material={quoteattr(texture)}"


def texture_files(plan: FloorPlan) -> dict[str, bytes]:
    """The pictures that the model's XML refers to, by file name."""
    return {f"{texture.name}.png": png(texture) for texture in plan.textures}


def _assets(plan: FloorPlan) -> str:
    parts = []
    for texture in plan.textures:
        name = quoteattr(texture.name)
        repeat = f'texuniform="true" texrepeat="{texture.repeat} {texture.repeat}"' if texture.repeat else ""
        parts.append(f'<texture name={name} type="2d" file="{texture.name}.png"/>')
        parts.append(f'<material name={name} texture={name} {repeat} specular="0"/>')
    return f"<asset>{' '.join(parts)}</asset>"
