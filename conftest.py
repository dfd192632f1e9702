"""Leaves the examples in training's docstrings out where torch is not installed (./bootstrap train adds it)."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["src/akazuba/training/*"]
