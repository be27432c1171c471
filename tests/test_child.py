"""What a process has started ends with it, wherever it went."""

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from refimpl.validation.child import Child

# Answers the first line with the number of a process that is in a session of its own, and nobody's child; says so when it is there.
DAEMON = """
import os, sys, time
sys.stdin.readline()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
sys.stdin.read()
"""
pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="nothing tells what was started")


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ended(pid):
    until = time.monotonic() + 20
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not runs(pid)


def test_what_left_the_process_group_is_killed_too():
    child, other = (Child(shlex.join([sys.executable, "-I", "-S", "-c", DAEMON])) for _ in range(2))
    pid, another = int(child.ask(b"{}\n", 60.0)), int(other.ask(b"{}\n", 60.0))
    assert runs(pid)
    assert os.getsid(pid) not in (os.getsid(0), child._process.pid)
    child.kill()
    assert ended(pid)
    assert runs(another)  # it is of another process, and this one's affair alone
    other.kill()
    assert ended(another)


def test_the_environment_is_that_of_the_parent_and_one_name_more():
    child = Child(shlex.join([sys.executable, "-c", "import json, os; input(); print(json.dumps(dict(os.environ)))"]))
    there = json.loads(child.ask(b"{}\n", 60.0))
    child.kill()
    assert [name for name in there if name not in os.environ] == [child._mark]
    assert {name: there[name] for name in os.environ} == dict(os.environ)
