"""One line per event, the same keys first."""

import logging

import pytest

from governor.events import log_event


def test_the_common_keys_come_first_even_when_unknown(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="hotdesk"):
        log_event("seated", ticket=7, seconds=1.23456, model="a b")
    assert caplog.messages == ['event=seated ticket=7 holder=- tier=- seconds=1.235 model="a b"']


def test_a_line_break_in_a_value_stays_on_one_line(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="hotdesk"):
        log_event("evicted", why="first\nsecond")
    assert "\n" not in caplog.messages[0]
