"""SE(2) and SE(3), camera and robot frames, interpolation over stamps. Knows numpy and torch only."""
