"""Compiles the plugin `bench` of the worker benchmark into the folder that is given."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "EndToEnd"))
import plugins

plugins.IDEMPOTENT.clear()
plugins.build(sys.argv[1], "bench", drain_timeout_ms=10000)
