"""What exists while the planner node is configured: the parts, how they are wired, and who runs where.

Three kinds of threads, and none waits for another. Sensor callbacks fill the observation buffer (executor
threads); the planning thread runs the model; the command loop turns the newest plan into velocities, or into
zero for a reason. They meet only at the buffer, at the mission and at the follower's plan.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, JumpThreshold
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from sana_wm_ros.geometry.camera import base_to_optical
from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.nodes import diagnostics, pictures, plain_qos
from sana_wm_ros.nodes.command_loop import CommandLoop
from sana_wm_ros.nodes.extrinsics import TransformSource
from sana_wm_ros.nodes.mission import Mission, in_words
from sana_wm_ros.nodes.outputs import Outputs
from sana_wm_ros.nodes.parameter_server import ParameterServer
from sana_wm_ros.nodes.pilot import Pilot
from sana_wm_ros.nodes.planner_factory import PlannerFactory
from sana_wm_ros.nodes.planning_thread import NO_WAY_OUT, Outcome, PlanningThread, Situation
from sana_wm_ros.nodes.sensing import Sensing
from sana_wm_ros.nodes.supervisor import Facts, Stop
from sana_wm_ros.nodes.visualization import Cinema, imagined_to_the_end
from sana_wm_ros.planning.follower import Follower, FollowerSettings
from sana_wm_ros.planning.types import PlanResult
from sana_wm_ros.world_model.how_it_runs import how_it_runs
from sana_wm_ros.world_model.observation_buffer import ObservationBuffer
from sana_wm_ros.world_model.protocol import WorldModel

_LITTLE_TRUST_S = 2.0


class Runtime:
    """Wires sensors, planning thread, command loop and outputs together; ``close`` undoes all of it."""

    def __init__(
        self, node: Node, model: WorldModel, server: ParameterServer, trace: Callable[[str, float], None]
    ) -> None:
        self._node, self._model, self._server, self._trace = node, model, server, trace
        settings = self._settings = server.settings
        say = node.get_logger().info
        camera = settings.camera
        place_44 = base_to_optical((camera.x, camera.y, camera.z), (camera.roll, camera.pitch, camera.yaw))
        self._active = False
        self._told: Stop | None = None
        self._trusted = True
        self._outcome: Outcome | None = None
        self._stops: Counter[str] = Counter()
        self._stopped_since_s = time.monotonic()
        self._clock_value_s, self._clock_moved_s = -1.0, time.monotonic()
        self._transforms = TransformSource(node)
        if camera.from_tf and not self._transforms.available:
            say("tf2_ros is not installed: the camera's place on the robot is taken from parameters")
        self._mission = Mission(self._transforms, say)
        self._buffer = ObservationBuffer(model.spec, place_44)
        self._pilot = Pilot(Follower(settings.robot, FollowerSettings(lost_m=settings.command.lost_m)))
        self._outputs = Outputs(node, stamped=settings.command.stamped, base_frame=settings.frames.base)
        self._sensing = Sensing(node, self._buffer, self._transforms, camera, settings.frames.base, trace)
        self._planners = PlannerFactory(settings, model.spec, self._server.critic_weights)
        self._planning = PlanningThread(
            model=model,
            buffer=self._buffer,
            planner_for=self._planners.make,
            settings=settings,
            situation=self._situation,
            deliver=self._on_outcome,
            say=say,
        )
        self._cinema = Cinema(
            model,
            wanted=self._outputs.pictures_wanted,
            show_frame=self._outputs.show_frame,
            show_strip=self._outputs.show_strip,
            options=lambda: (self._settings.visual.film_frames, self._settings.visual.scale),
            explained=lambda: self._settings.explain.candidate,
            say=node.get_logger().error,
        )
        self._loop = CommandLoop(
            period_s=1.0 / settings.command.rate_hz,
            decide=self._decide,
            publish=self._send_command,
            on_change=self._on_stop_change,
        )
        self._listen()
        self._planning.start()
        self._loop.start()

    def _listen(self) -> None:
        """Goals, services, the report timer and jumps of the clock."""
        node, group = self._node, MutuallyExclusiveCallbackGroup()
        self._goal_subscriptions = [
            node.create_subscription(
                kind,
                topic,
                callback,
                10,
                callback_group=group,
                event_callbacks=plain_qos.for_subscription(node, topic),
            )
            for kind, topic, callback in (
                (PoseStamped, "goal_pose", self._on_goal),
                (Path, "goal_path", self._on_goal),
                (Image, "goal_image", self._on_goal_image),
            )
        ]
        acts = {"pause": self._pause, "resume": self._resume, "clear_goal": self._clear_goal}
        self._services = [
            node.create_service(Trigger, f"~/{name}", answering(act), callback_group=group)
            for name, act in acts.items()
        ]
        # Steady: diagnostics must come while /clock stands still, most of all then.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._report_timer = node.create_timer(
            1.0, self._report, callback_group=MutuallyExclusiveCallbackGroup(), clock=steady
        )
        backwards = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-0.5), on_clock_change=True)
        self._jump = node.get_clock().create_jump_callback(backwards, post_callback=self._on_jump)

    def activate(self, active: bool) -> None:
        """Plan and drive from now on, or stop: zero is sent and settled before this returns."""
        self._active = active
        if active:
            self._pilot.failure = None
            self._planning.resume()
            self._loop.wake()
        else:
            self._planning.pause()
            self._loop.tick()
            self._pilot.follower.set_plan(None)
            self._outputs.settle()

    def stop_robot(self) -> None:
        """Zero is commanded, and nothing after it."""
        self._active = False
        self._loop.halt()
        self._outputs.settle()

    def close(self) -> None:
        """Stop the robot first, then end everything."""
        self.stop_robot()
        self._jump.unregister()
        self._sensing.close()
        self._planning.close()
        self._cinema.close()
        node = self._node
        node.destroy_timer(self._report_timer)
        for subscription in self._goal_subscriptions:
            node.destroy_subscription(subscription)
        for service in self._services:
            node.destroy_service(service)
        self._transforms.close()
        self._outputs.close()

    def take_parameters(self) -> None:
        """Live parameters changed."""
        self._settings = self._server.settings
        self._planners.set_weights(self._server.critic_weights)

    def _now_s(self) -> float:
        return float(self._node.get_clock().now().nanoseconds) * 1e-9

    @property
    def _has_task(self) -> bool:
        """Whether there is a goal, or exploring is asked for without one."""
        return self._mission.goal is not None or self._settings.goal.explore

    def _facts(self, now_s: float) -> Facts:
        steady_s = time.monotonic()
        if now_s != self._clock_value_s:
            self._clock_value_s, self._clock_moved_s = now_s, steady_s
        plan = self._pilot.follower.plan
        return Facts(
            active=self._active,
            paused=self._mission.paused,
            sim_time=self._node.get_clock().ros_time_is_active,
            now_s=now_s,
            clock_still_s=steady_s - self._clock_moved_s,
            image_age_s=self._buffer.image_age_s(now_s),
            image_silence_s=self._sensing.silence_s("camera"),
            odometry_age_s=self._buffer.odometry_age_s(now_s),
            odometry_silence_s=self._sensing.silence_s("odometry"),
            goal=self._has_task,
            goal_ended=self._mission.ended,
            failure=self._pilot.failure,
            plan_valid_until_s=None if plan is None else plan.valid_until_s,
        )

    def _decide(self) -> FloatArray | Stop:
        """Runs in the command loop."""
        now_s = self._now_s()
        state = self._sensing.present_state(now_s)
        if self._active and state is not None:
            self._mission.update(state)
        return self._pilot.decide(
            self._facts(now_s),
            self._settings.safety,
            state,
            self._sensing.present_scan(now_s),
            camera_problem=self._sensing.problem,
        )

    def _send_command(self, twist_3: FloatArray) -> None:
        """Runs in the command loop, and where the robot is stopped."""
        self._outputs.send_command(twist_3)
        self._trace("command", 0.0)

    def _situation(self) -> Situation | None:
        """Runs in the planning thread. Planning goes on while the robot may move, or could if it had a plan."""
        now_s = self._now_s()
        self._accept(
            lambda: self._mission.accept_waiting(
                odometry_frame=self._sensing.odometry_frame, now_s=now_s, settings=self._settings.goal
            )
        )
        return self._pilot.situation(
            self._facts(now_s),
            self._settings.safety,
            self._sensing.present_state(now_s),
            self._mission.goal,
            self._sensing.present_scan(now_s),
        )

    def _on_outcome(self, outcome: Outcome) -> None:
        """Runs in the planning thread."""
        self._outcome = outcome
        # A goal that was replaced meanwhile is no reason to wait: the next plan is for the new one, and goals
        # that stream in faster than plans must not keep the robot from having any.
        if not self._active or not self._has_task:
            return
        if outcome.result is not None:
            self._mission.looked(outcome.result.place_away)
            self._watch_trust(outcome.result.trust_s)
        if outcome.failure is not None and outcome.failure.kind == NO_WAY_OUT:
            self._mission.give_up()
        if outcome.failure is None and outcome.result is not None:
            self._trace("plan", outcome.cycle_s)
        self._pilot.take(outcome)
        self._loop.wake()
        if outcome.details and outcome.failure != self._told:
            self._told = outcome.failure
            self._node.get_logger().error(outcome.details)
        self._report()
        if outcome.result is not None:
            # Here, in the planning thread: a model is not asked two things at once.
            explained = self._settings.explain.candidate
            result = self._explained(outcome.result, explained)
            self._outputs.show(
                result,
                odometry_frame=self._sensing.odometry_frame,
                weights=self._server.critic_weights,
                max_range_m=self._model.spec.max_range_m,
                most=self._settings.visual.rollouts,
                lifetime_s=self._settings.planner.valid_s,
                explained=explained,
                scan_s=self._settings.visual.scan_s,
            )
            self._outputs.show_free_space(self._planning.free_space, self._sensing.odometry_frame)
            self._cinema.offer(result)

    def _explained(self, result: PlanResult, row: int) -> PlanResult:
        """The same with the candidate that somebody asks about imagined to its end, while anybody looks."""
        if not self._outputs.watched:
            return result
        try:
            return imagined_to_the_end(result, row)
        except Exception as error:  # it is for people: whatever goes wrong, the robot plans on
            self._node.get_logger().error(f"candidate {row} cannot be imagined to its end: {error!r}")
            return result

    def _watch_trust(self, trust_s: float | None) -> None:
        """One line when imagination stops being believable, and one when it is again."""
        if trust_s is None:
            return
        if self._trusted and trust_s < _LITTLE_TRUST_S:
            self._trusted = False
            self._node.get_logger().warning(
                f"trust horizon {trust_s:.1f} s: the camera sees other things than the model foretold; is it "
                "mounted as configured, and the place like those the model knows?"
            )
        elif not self._trusted and trust_s > 2 * _LITTLE_TRUST_S:
            self._trusted = True
            self._node.get_logger().info(f"trust horizon {trust_s:.1f} s: imagination holds again")

    def _on_stop_change(self, before: Stop | None, stop: Stop | None) -> None:
        """Runs in the command loop: one line per stop, one when the robot may move again."""
        logger = self._node.get_logger()
        if stop is not None:
            self._stops[stop.kind] += 1
            if stop.fault and stop.kind != "no plan yet":
                logger.error(f"robot stopped: {stop.sentence}")
            else:  # rclpy allows one severity per line of code
                logger.info(f"robot stands: {stop.sentence}")
        else:
            reason = before.kind if before is not None else ""
            logger.info(f"robot may move again after {_since(self._stopped_since_s)} ({reason} is over)")
        if before is None:
            self._stopped_since_s = time.monotonic()
        self._report()

    def _report(self) -> None:
        name, stop = self._node.get_name(), self._loop.stop
        now_s = self._now_s()
        goal = self._mission.goal
        values: dict[str, object] = {"goal": "none" if goal is None else in_words(goal)}
        if self._mission.ended:
            values["last goal"] = self._mission.ended
        if self._loop.failures:
            values["failures of the command loop"] = f"{self._loop.failures}, last {self._loop.last_failure}"
        ages = {"picture": self._buffer.image_age_s(now_s), "odometry": self._buffer.odometry_age_s(now_s)}
        sensing, planning = self._sensing, self._planning
        self._outputs.report(
            [
                diagnostics.motion_status(name, stop, dict(self._stops), values),
                diagnostics.input_status(
                    name, ages, dict(sensing.received), dict(sensing.refused), dict(self._buffer.counts),
                    sensing.image_cost_s,
                ),
                diagnostics.planning_status(
                    name, self._outcome, cycles=planning.cycles, late=planning.late, skipped=planning.skipped,
                    period_s=1.0 / self._settings.planner.rate_hz, model=how_it_runs(self._model),
                ),
            ]
        )  # fmt: skip

    def _on_goal_image(self, message: Image) -> None:
        try:
            picture = pictures.rgb_from_image(message)
        except (ValueError, pictures.Unreadable) as error:
            self._node.get_logger().error(f"goal image refused: {error}")
            return
        self._mission.accept_picture(picture, now_s=self._now_s(), settings=self._settings.goal)

    def _on_goal(self, message: PoseStamped | Path) -> None:
        self._accept(
            lambda: self._mission.accept(
                message,
                odometry_frame=self._sensing.odometry_frame,
                now_s=self._now_s(),
                settings=self._settings.goal,
            )
        )

    def _accept(self, accept: Callable[[], None]) -> None:
        try:
            accept()
        except ValueError as error:
            self._node.get_logger().error(str(error))

    def _pause(self) -> str:
        self._mission.paused = True
        self._loop.tick()
        return "paused; the goal is kept"

    def _resume(self) -> str:
        self._mission.paused = False
        return "goes on" if self._active else "not paused any more, but the node is not active"

    def _clear_goal(self) -> str:
        self._mission.clear()
        self._loop.tick()
        self._pilot.follower.set_plan(None)
        return "the goal is dropped"

    def _on_jump(self, jump: object) -> None:
        self._buffer.clear("the clock jumped back")
        self._pilot.forget()


def answering(act: Callable[[], str]) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
    """A service that does one thing and says what it did."""

    def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, act()
        return response

    return serve


def _since(begin_s: float) -> str:
    return f"{time.monotonic() - begin_s:.1f} s"
