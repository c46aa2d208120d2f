"""MuJoCo buildings, robots and drivers: where training data, test bags and the demo come from."""
