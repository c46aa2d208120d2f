"""An example of a package that brings a critic of its own to sana_wm_ros."""
