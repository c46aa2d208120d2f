"""The ROS shell: lifecycle nodes, messages to arrays and back, parameters, diagnostics, markers."""
