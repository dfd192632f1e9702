"""Without torch (`./bootstrap train` adds it), mcp or flwr, the modules that need it have no doctests run."""

import importlib.util

NEEDS = {
    "torch": "src/akazuba/training/*",
    "mcp": "src/akazuba/mcp_server.py",
    "flwr": "src/akazuba/federation/flower.py",
}
collect_ignore_glob = [files for package, files in NEEDS.items() if not importlib.util.find_spec(package)]
