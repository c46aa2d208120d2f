"""Costs of imagined futures: one class per file, found by entry-point group ``sana_wm_ros.critics``.

``SHIPPED`` is what ``setup.py`` registers, and what is there when the package runs from its source tree.
"""

GROUP = "sana_wm_ros.critics"

SHIPPED = {
    "goal_pose": "sana_wm_ros.planning.critics.goal_pose:GoalPose",
    "progress": "sana_wm_ros.planning.critics.progress:Progress",
    "collision": "sana_wm_ros.planning.critics.collision:Collision",
    "clearance": "sana_wm_ros.planning.critics.clearance:Clearance",
    "smoothness": "sana_wm_ros.planning.critics.smoothness:Smoothness",
    "control_effort": "sana_wm_ros.planning.critics.control_effort:ControlEffort",
    "uncertainty": "sana_wm_ros.planning.critics.uncertainty:Uncertainty",
    "goal_image": "sana_wm_ros.planning.critics.goal_image:GoalImage",
    "path_following": "sana_wm_ros.planning.critics.path_following:PathFollowing",
    "novelty": "sana_wm_ros.planning.critics.novelty:Novelty",
}
