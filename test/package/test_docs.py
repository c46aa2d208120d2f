"""What the documents point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    broken = [
        link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()
    ]
    assert broken == []


def test_the_readme_fits_on_about_one_screen(checkout: Path) -> None:
    assert len((checkout / "README.md").read_text(encoding="utf-8").splitlines()) <= 75


def test_the_changelog_speaks_of_this_version_or_of_what_is_unreleased(checkout: Path) -> None:
    import sana_wm_ros

    text = (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{sana_wm_ros.__version__}]" in text or "## [Unreleased]" in text
