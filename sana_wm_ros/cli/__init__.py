"""The command ``sana_wm``: one verb, one file."""
