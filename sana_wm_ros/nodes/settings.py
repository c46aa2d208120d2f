"""Every parameter of the planner node, once: name, type, default, range and what it is for.

A group is a frozen dataclass, a field is a parameter ``group.field``. ``config/planner.yaml`` holds
the same names with the same defaults; a test keeps the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from sana_wm_ros.planning.types import Robot

_LONGEST_LIST = 16


def setting(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A dataclass field that is a parameter; ``live`` ones may change while the node is active."""
    details = {"text": text, "low": low, "high": high, "choices": choices, "live": live}
    return field(default=default, metadata=details)


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    path: str = setting(
        "nano", "World model: a folder with config.yaml and weights, or a shipped model's name."
    )
    device: str = setting("auto", "Where the model runs.", choices=("auto", "cpu", "cuda"))
    threads: int = setting(0, "CPU threads of the model; 0 leaves the choice to torch.", low=0, high=64)
    precision: str = setting(
        "auto",
        "What its blocks multiply in; bf16 needs a GPU or AMX, fp8 a GPU of compute capability 8.9 or later.",
        choices=("auto", "bf16", "fp8"),
    )


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    from_tf: bool = setting(True, "Take the camera's place from TF where tf2_ros is installed.")
    x: float = setting(
        0.1, "Camera body in the base frame, ahead, m (used without TF).", low=-10.0, high=10.0
    )
    y: float = setting(0.0, "Camera body in the base frame, to the left, m.", low=-10.0, high=10.0)
    z: float = setting(0.35, "Camera body in the base frame, up, m.", low=-10.0, high=10.0)
    roll: float = setting(0.0, "Camera body in the base frame, roll, rad.", low=-3.1416, high=3.1416)
    pitch: float = setting(
        0.12, "Camera body in the base frame, rad; positive looks down.", low=-1.58, high=1.58
    )
    yaw: float = setting(
        0.0, "Camera body in the base frame, rad; positive looks left.", low=-3.1416, high=3.1416
    )
    rectified: bool = setting(
        False, "Pictures are undistorted already: use the projection matrix of camera_info."
    )
    horizontal_fov_deg: float = setting(
        0.0, "Field of view of a camera without camera_info; 0 waits for camera_info.", low=0.0, high=170.0
    )


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    base: str = setting(
        "base_link", "The robot's base frame; odometry's own child frame is taken to be the same."
    )


@dataclass(frozen=True, kw_only=True)
class ContextSettings:
    rebuild_s: float = setting(
        20.0,
        "How much of the past a context that is rebuilt after a failure takes in, s.",
        low=1.0,
        high=60.0,
    )


@dataclass(frozen=True, kw_only=True)
class PlannerSettings:
    rate_hz: float = setting(1.0, "Plans per second that are aimed at.", low=0.1, high=10.0)
    budget_s: float = setting(
        0.0, "Time that one plan may take, s; 0 takes nine tenths of the period.", low=0.0, high=30.0
    )
    candidates: int = setting(16, "Action sequences that are imagined side by side.", low=1, high=1024)
    horizon_s: float = setting(60.0, "How far ahead is imagined when time allows, s.", low=1.0, high=60.0)
    valid_s: float = setting(
        3.0, "How long a plan may be followed without a newer one, s.", low=0.5, high=10.0
    )
    steps: int = setting(0, "Denoising steps per chunk; 0 takes the model's own number.", low=0, high=64)
    draws: int = setting(
        3,
        "Draws of noise by which the last candidates are judged, where they make a difference.",
        low=1,
        high=16,
    )
    refinements: int = setting(
        1, "Generations of candidates drawn around the best ones, as time allows.", low=0, high=16
    )
    refined: int = setting(8, "Candidates of each such generation.", low=1, high=256)
    discount_beyond_trust: bool = setting(
        True, "Let costs beyond the trust horizon count less, and drive slower where it is short."
    )
    seed: int = setting(0, "Seed of every random draw: one seed, one plan.", low=0, high=2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class ProposalMix:
    ways: float = setting(
        0.3, "Share of ways to the goal through what clearance says is free.", low=0.0, high=100.0
    )
    openings: float = setting(0.15, "Share of ways to where free space ends.", low=0.0, high=100.0)
    curves: float = setting(0.3, "Share of curves to the goal past random points.", low=0.0, high=100.0)
    primitives: float = setting(
        0.25, "Share of motion primitives; with curves 0, more than 0.", low=0.0, high=100.0
    )


@dataclass(frozen=True, kw_only=True)
class GoalSettings:
    tolerance_m: float = setting(0.3, "A goal this near is reached, m.", low=0.01, high=10.0, live=True)
    place_tolerance: float = setting(
        0.15,
        "A goal image this alike (1 - cos of place embeddings) is reached.",
        low=0.001,
        high=2.0,
        live=True,
    )
    explore: bool = setting(False, "Explore while there is no goal.", live=True)
    match_heading: bool = setting(False, "Also reach the goal's heading.", live=True)
    timeout_s: float = setting(
        180.0, "A goal that takes longer is given up, s.", low=1.0, high=86400.0, live=True
    )


@dataclass(frozen=True, kw_only=True)
class SafetySettings:
    camera_timeout_s: float = setting(
        0.4, "Stop when the newest picture is older, s.", low=0.05, high=0.4, live=True
    )
    odometry_timeout_s: float = setting(
        0.4, "Stop when the newest odometry is older, s.", low=0.05, high=0.4, live=True
    )
    clock_timeout_s: float = setting(
        0.4,
        "With use_sim_time: stop when /clock stood still for so long (wall time), s.",
        low=0.05,
        high=0.4,
        live=True,
    )


@dataclass(frozen=True, kw_only=True)
class CommandSettings:
    rate_hz: float = setting(20.0, "Commands per second (wall time).", low=10.0, high=100.0)
    stamped: bool = setting(True, "Publish TwistStamped; false publishes Twist.")
    lost_m: float = setting(0.5, "Stop when the robot is further from its plan, m.", low=0.05, high=1000.0)


@dataclass(frozen=True, kw_only=True)
class VisualSettings:
    rollouts: int = setting(16, "Imagined ways that are drawn, the best first.", low=1, high=256, live=True)
    film_frames: int = setting(12, "Pictures on a film strip.", low=2, high=60, live=True)
    scale: int = setting(3, "Imagined pictures are enlarged so many times.", low=1, high=8, live=True)
    scan_s: tuple[float, ...] = setting(
        (2.0, 5.0, 10.0),
        "Free space imagined around the best way after so many seconds is drawn in ~/rollouts.",
        low=0.1,
        high=60.0,
        live=True,
    )


@dataclass(frozen=True, kw_only=True)
class ExplainSettings:
    candidate: int = setting(
        -1,
        "Candidate (its number in ~/critics, its marker's id) whose imagined pictures and critics' shares are shown; "
        "-1 shows the best.",
        low=-1,
        high=1023,
        live=True,
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All parameters of the planner node; critics' weights come beside them (``critics.NAME.weight``)."""

    model: ModelSettings = field(default_factory=ModelSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    frames: FrameSettings = field(default_factory=FrameSettings)
    context: ContextSettings = field(default_factory=ContextSettings)
    robot: Robot = field(default_factory=Robot)
    planner: PlannerSettings = field(default_factory=PlannerSettings)
    proposals: ProposalMix = field(default_factory=ProposalMix)
    goal: GoalSettings = field(default_factory=GoalSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    command: CommandSettings = field(default_factory=CommandSettings)
    visual: VisualSettings = field(default_factory=VisualSettings)
    explain: ExplainSettings = field(default_factory=ExplainSettings)


# The robot's dataclass lives with the planner, which knows nothing of parameters; their words are here.
_ROBOT: dict[str, dict[str, Any]] = {
    "drive": {
        "text": "How the robot moves.",
        "choices": ("differential", "ackermann", "omnidirectional"),
    },
    "radius_m": {
        "text": "Radius of the disc around the base that must stay free, m.",
        "low": 0.02,
        "high": 5.0,
    },
    "max_speed_mps": {"text": "Greatest speed ahead, m/s.", "low": 0.01, "high": 30.0},
    "max_reverse_mps": {"text": "Greatest speed backwards, m/s; 0 never reverses.", "low": 0.0, "high": 10.0},
    "max_yaw_rate_radps": {"text": "Greatest turning rate, rad/s.", "low": 0.01, "high": 10.0},
    "max_acceleration_mps2": {"text": "Greatest acceleration and braking, m/s^2.", "low": 0.05, "high": 20.0},
    "max_yaw_acceleration_radps2": {
        "text": "Greatest turning acceleration, rad/s^2.",
        "low": 0.05,
        "high": 50.0,
    },
    "wheelbase_m": {"text": "Distance between the axles (ackermann), m.", "low": 0.05, "high": 10.0},
    "max_steering_rad": {"text": "Greatest steering angle (ackermann), rad.", "low": 0.05, "high": 1.4},
}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter as ROS sees it. A list holds numbers, each within the bounds; it may be empty."""

    name: str
    default: bool | int | float | str | list[float]
    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    @property
    def expectation(self) -> str:
        """What a value must be, in words."""
        kinds = {
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            str: "a text",
            list: "numbers",
        }
        kind = kinds[type(self.default)]
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.low is None or self.high is None:
            return kind
        return f"{kind} in [{self.low:g}, {self.high:g}]"

    def check(self, value: Any) -> Any:
        """The value in this parameter's type; ``ValueError`` names it and what was expected."""
        kind = type(self.default)
        if kind is list:
            return self._checked_list(value)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or (self.choices and value not in self.choices) or not self._within(value):
            raise self._refusal(value)
        return kind(value)

    def _checked_list(self, value: Any) -> tuple[float, ...]:
        # rclpy gives an empty list as one of bytes, and numbers as an array.
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > _LONGEST_LIST:
            raise self._refusal(value)
        if not all(type(one) in (int, float) and self._within(one) for one in value):
            raise self._refusal(value)
        return tuple(float(one) for one in value)

    def _within(self, value: Any) -> bool:
        if self.low is None or self.high is None:
            return True
        return bool(self.low <= value <= self.high)  # false for nan

    def _refusal(self, value: Any) -> ValueError:
        return ValueError(f"{self.name} = {value!r} is refused: expected {self.expectation}")


def parameters(critic_weights: dict[str, float]) -> dict[str, Parameter]:
    """All parameters by name; ``critic_weights`` are the default weights of the critics that are installed."""
    found = [Parameter(name="autostart", default=False, text="Configure and activate without being told to.")]
    for group, option in _fields():
        details = _ROBOT[option.name] if group == "robot" else dict(option.metadata)
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        found.append(Parameter(name=f"{group}.{option.name}", default=default, **details))
    for critic, weight in critic_weights.items():
        text = f"Weight of the critic '{critic}' in a plan's cost; 0 switches it off."
        name = f"critics.{critic}.weight"
        found.append(Parameter(name=name, default=float(weight), text=text, low=0.0, high=1e6, live=True))
    return {parameter.name: parameter for parameter in found}


def settings_from(values: dict[str, Any]) -> Settings:
    """Checked values by parameter name as the dataclasses that the node's parts take."""
    groups: dict[str, dict[str, Any]] = {}
    for group, option in _fields():
        value = values[f"{group}.{option.name}"]
        groups.setdefault(group, {})[option.name] = tuple(value) if isinstance(value, list) else value
    kinds = {option.name: option.default_factory for option in fields(Settings)}
    return Settings(**{group: kinds[group](**chosen) for group, chosen in groups.items()})  # type: ignore[misc, operator]


def _fields() -> Iterator[tuple[str, Field[Any]]]:
    for group in fields(Settings):
        if group.default_factory is MISSING:
            raise TypeError(f"{group.name} must be a group of parameters")
        for option in fields(group.default_factory()):  # type: ignore[arg-type]
            yield group.name, option
