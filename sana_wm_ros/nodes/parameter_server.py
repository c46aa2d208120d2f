"""ROS parameters as checked settings: declared from one table, refused with reason and range, some of them live."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from sana_wm_ros.nodes.settings import Parameter, Settings, parameters, settings_from


class ParameterServer:
    """Declares the parameters on a node and keeps the newest settings.

    frozen: says whether the node runs, so that only live parameters may change.
    on_change: called after live parameters changed.
    Raises ``ValueError`` naming the parameter when the node was started with a bad value.
    """

    def __init__(
        self,
        node: Node,
        critic_weights: dict[str, float],
        *,
        frozen: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._table = parameters(critic_weights)
        self._frozen, self._on_change = frozen, on_change
        self._values: dict[str, Any] = {}
        for name, parameter in self._table.items():
            descriptor = _descriptor(parameter)
            self._values[name] = parameter.check(
                node.declare_parameter(name, parameter.default, descriptor).value
            )
        self.unknown = _unknown_overrides(node, self._table)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._take_over)

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        return settings_from(self._values)

    @property
    def autostart(self) -> bool:
        """Whether the node configures and activates itself."""
        return bool(self._values["autostart"])

    @property
    def critic_weights(self) -> dict[str, float]:
        """Weights by critic."""
        names = [name for name in self._table if name.startswith("critics.")]
        return {name.removeprefix("critics.").removesuffix(".weight"): self._values[name] for name in names}

    def _check(self, changes: list[RosParameter]) -> SetParametersResult:
        for change in changes:
            parameter = self._table.get(change.name)
            if parameter is None:  # use_sim_time and the like belong to rclpy
                continue
            try:
                parameter.check(change.value)
            except ValueError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if self._frozen() and not parameter.live:
                reason = f"{change.name} cannot change while the node runs: clean up, set it, configure again"
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _take_over(self, changes: list[RosParameter]) -> None:
        ours = [change for change in changes if change.name in self._table]
        for change in ours:
            self._values[change.name] = self._table[change.name].check(change.value)
        if ours:
            self._on_change()


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    # Ranges stand in words only, and types are left open: rclpy would refuse a bad value before this module
    # can say what is allowed, and a whole number where a fraction may stand.
    text = parameter.expectation + ("; may change while the node runs" if parameter.live else "")
    return ParameterDescriptor(
        name=parameter.name, description=parameter.text, additional_constraints=text, dynamic_typing=True
    )


def _unknown_overrides(node: Node, table: dict[str, Parameter]) -> list[str]:
    """A sentence for every parameter that was given and that nobody asked for."""
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public way to ask
    sentences = []
    for name in given:
        if name in table or node.has_parameter(name) or name.startswith("qos_overrides."):
            continue
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        sentences.append(f"parameter {name} is not known and does nothing{hint}")
    return sentences
