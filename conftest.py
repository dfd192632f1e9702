"""Without torch (`./bootstrap train` adds it), the examples in training's docstrings are left out."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["src/akazuba/training/*"]
