"""The RViz configurations fit the nodes: every topic exists, has the display's type, and QoS that meet."""

from pathlib import Path

import pytest
import yaml

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2 or its wheels")

# What each display shows; RViz's own plug-ins, so this is a fact about RViz and not about the node.
SHOWS = {
    "rviz_default_plugins/Odometry": "nav_msgs/msg/Odometry",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    "rviz_default_plugins/Path": "nav_msgs/msg/Path",
    "rviz_default_plugins/LaserScan": "sensor_msgs/msg/LaserScan",
    "rviz_default_plugins/Map": "nav_msgs/msg/OccupancyGrid",
    "rviz_default_plugins/Pose": "geometry_msgs/msg/PoseStamped",
    "rviz_default_plugins/PoseArray": "geometry_msgs/msg/PoseArray",
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/SetGoal": "geometry_msgs/msg/PoseStamped",
}


@pytest.fixture(scope="module", params=["planner.rviz", "sim.rviz"])
def config(request):
    path = Path(__file__).resolve().parents[2] / "config" / request.param
    return yaml.safe_load(path.read_text(encoding="utf-8"))["Visualization Manager"]


@pytest.fixture(scope="module")
def context():
    context = rclpy.Context()
    rclpy.init(context=context)  # in the domain of this test process
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture(scope="module")
def node_topics(context):
    """Topics of a real, configured planner node: name to (type, whether the node publishes it, its QoS)."""
    from sana_wm_ros.nodes.null_model import NullModel
    from sana_wm_ros.nodes.planner_node import PlannerNode

    node = PlannerNode(load_model=lambda settings: NullModel(), context=context)
    try:
        assert node.trigger_configure() == rclpy.lifecycle.TransitionCallbackReturn.SUCCESS
        yield _topics_of(node)
    finally:
        node.close()
        node.destroy_node()


@pytest.fixture(scope="module")
def robot_topics(context):
    """The same of a real simulator node, whose robot need not drive for that."""
    pytest.importorskip("mujoco", reason="the simulator is the extra 'sim'")
    from sana_wm_ros.nodes.simulator_node import SimulatorNode

    node = SimulatorNode(context=context)
    yield _topics_of(node)
    node.destroy_node()


def _topics_of(node):
    found = {}
    for published, ask, infos in (
        (True, node.get_publisher_names_and_types_by_node, node.get_publishers_info_by_topic),
        (False, node.get_subscriber_names_and_types_by_node, node.get_subscriptions_info_by_topic),
    ):
        for name, _ in ask(node.get_name(), node.get_namespace()):
            info = next(info for info in infos(name) if info.node_name == node.get_name())
            found[name] = (info.topic_type, published, info.qos_profile)
    return found


def _shown(config):
    entries = [*config["Displays"], *config["Tools"]]
    return [entry for entry in entries if "Topic" in entry]


def test_every_topic_is_the_nodes_with_the_displays_type(config, node_topics, robot_topics):
    topics = robot_topics | node_topics
    for entry in _shown(config):
        topic = entry["Topic"]["Value"]
        assert topic in topics, f"{entry.get('Name', entry['Class'])} shows {topic}, which no node has"
        assert topics[topic][0] == SHOWS[entry["Class"]]


def test_the_planner_s_own_view_needs_no_simulator(node_topics):
    path = Path(__file__).resolve().parents[2] / "config" / "planner.rviz"
    view = yaml.safe_load(path.read_text(encoding="utf-8"))["Visualization Manager"]
    assert {entry["Topic"]["Value"] for entry in _shown(view)} <= set(node_topics)


def test_the_simulator_s_view_shows_what_the_simulated_robot_tells_and_the_planner_s_does_not(robot_topics):
    path = Path(__file__).resolve().parents[2] / "config" / "sim.rviz"
    view = yaml.safe_load(path.read_text(encoding="utf-8"))["Visualization Manager"]
    displayed = {entry["Topic"]["Value"] for entry in _shown(view)}
    assert {name for name in robot_topics if name.startswith("/sana_wm_simulator/")} <= displayed


def test_no_display_asks_for_more_than_the_nodes_offer(config, node_topics, robot_topics):
    best_effort = rclpy.qos.ReliabilityPolicy.BEST_EFFORT
    for entry in _shown(config):
        for topics in (node_topics, robot_topics):
            _, published, qos = topics.get(entry["Topic"]["Value"], (None, False, None))
            if published and entry["Topic"]["Reliability Policy"] == "Reliable":
                assert qos.reliability != best_effort, entry["Name"]


def test_a_goal_from_rviz_reaches_the_node(config, node_topics):
    tool = next(tool for tool in config["Tools"] if tool["Class"].endswith("SetGoal"))
    _, published, qos = node_topics[tool["Topic"]["Value"]]
    assert not published
    # What the node asks for may not exceed what the tool offers: reliable and volatile.
    assert tool["Topic"]["Reliability Policy"] == "Reliable"
    assert qos.durability == rclpy.qos.DurabilityPolicy.VOLATILE


def test_all_that_the_node_shows_of_its_imagination_is_displayed(config, node_topics):
    displayed = {entry["Topic"]["Value"] for entry in _shown(config)}
    pictures = {"visualization_msgs/msg/MarkerArray", "sensor_msgs/msg/Image", "nav_msgs/msg/Path"}
    pictures |= {"sensor_msgs/msg/LaserScan"}
    for name, (kind, published, _) in node_topics.items():
        if published and kind in pictures:
            assert name in displayed


def test_plans_are_drawn_in_the_frame_they_live_in(config):
    assert config["Global Options"]["Fixed Frame"] == "odom"
