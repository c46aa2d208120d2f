"""A ROS 2 package of one critic; the entry point is all that sana_wm_ros needs to find it."""

from setuptools import setup

NAME = "sana_wm_example_critic"

setup(
    name=NAME,
    version="0.1.0",
    description="An example critic for sana_wm_ros: keep to the right.",
    maintainer="sana_wm_ros maintainers",
    maintainer_email="maintainers@sana-wm-ros.example.org",
    license="Apache-2.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    entry_points={"sana_wm_ros.critics": [f"keep_right = {NAME}.keep_right:KeepRight"]},
)
