"""What ./test could not check on this machine, said again just before pytest's closing line.

./test loads it with `-p tests.notices` and hands over its sentences in TEST_NOTICES, one on each line.
"""

import os

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    notices = os.environ.get("TEST_NOTICES", "").splitlines()
    if notices:
        terminalreporter.section("NOT CHECKED ON THIS MACHINE", sep="!", red=True, bold=True)
        for notice in notices:
            terminalreporter.line(notice, red=True)
