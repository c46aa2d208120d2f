"""Plan with a world model: camera and odometry in, imagined futures, the best plan out."""

__version__ = "0.1.0"
