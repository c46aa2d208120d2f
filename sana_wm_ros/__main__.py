"""``python -m sana_wm_ros`` is the command ``sana_wm``."""

from sana_wm_ros.cli.main import main

if __name__ == "__main__":
    main()
