"""Workers in control groups of the kernel's; see in_machine/control_groups.py."""

import os
import pathlib

import pytest

import machine
import plugins
from knap_host import wait_for
from test_workers import info, state_of


def test_where_a_plugin_runs_says_its_control_group_or_why_there_is_none(place):
    place.serve()
    plugins.drop(place, plugins.build(place.root / "built", "steady"))
    wait_for(lambda: state_of(place, "steady") == "active", "the start")
    shown = info(place, "steady")
    group = shown["control_group"]
    if group.startswith("none: "):
        assert len(group) > len("none: ")
    else:
        assert shown["process"] in (pathlib.Path(group) / "cgroup.procs").read_text().split()


@pytest.mark.faults
@pytest.mark.timeout(400)
@pytest.mark.skipif(os.geteuid() != 0, reason="root's control groups are tested as root")
def test_control_groups_in_a_machine_that_has_them(place):
    machine.run_tests("control_groups.py", place.root)
