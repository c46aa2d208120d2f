"""Fixtures that tests over DDS share."""

from ros_fixtures import log, make_bag, make_rig, model_folder, rig, ros, start_node

__all__ = ["log", "make_bag", "make_rig", "model_folder", "rig", "ros", "start_node"]
