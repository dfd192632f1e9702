"""Sphinx configuration."""

project = "Akazuba"
author = "The Akazuba founders"
copyright = "2026, the Akazuba founders"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Akazuba"
html_extra_path = ["schemas"]
myst_heading_anchors = 3
