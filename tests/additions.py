"""What ./test adds to pytest; it loads this with `-p tests.additions`.

TEST_NOTICES  sentences, one on each line, on what could not be checked on this machine: said again before the end
TEST_ONLY     "database": run those tests that use the database or start processes that do; the others are the same
              on every database
"""

import os

import pytest

USES = {"db", "transactional_db", "live_server", "django_db_setup", "launcher", "prepared"}
MARKS = ("django_db", "fault", "server")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("TEST_ONLY") != "database":
        return
    kept = [item for item in items if uses_database(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def uses_database(item: pytest.Item) -> bool:
    fixtures = USES & set(getattr(item, "fixturenames", ()))
    return bool(fixtures) or any(item.get_closest_marker(name) for name in MARKS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    notices = os.environ.get("TEST_NOTICES", "").splitlines()
    if notices:
        terminalreporter.section("NOT CHECKED ON THIS MACHINE", sep="!", red=True, bold=True)
        for notice in notices:
            terminalreporter.line(notice, red=True)
