"""log-watch: lines with the same cause are one cluster, and its counts are code's."""

import pytest

from flows.log_watch import cluster, page
from governor.answers import Answer
from governor.errors import BadInput

LINES = [
    "2026-11-20 00:00:04,123 ERROR [db] connection to 10.0.0.1:5432 timed out after 5000 ms",
    "2026-11-20 00:01:09,456 ERROR [db] connection to 10.0.0.2:5432 timed out after 5011 ms",
    "2026-11-20 00:02:11,789 ERROR [mail] message 9f3a01bc bounced",
    "2026-11-20 00:03:00,000 INFO [web] GET / 200",
]


def test_numbers_and_ids_make_no_new_cluster() -> None:
    assert [(count, "timed out" in template) for template, count, _ in cluster(LINES, "ERROR")] == [
        (2, True),
        (1, False),
    ]


def test_lines_that_do_not_match_are_not_counted() -> None:
    assert cluster(LINES, "CRITICAL") == []


def test_a_pattern_that_is_no_expression_is_bad_input() -> None:
    with pytest.raises(BadInput, match="pattern"):
        cluster(LINES, "(")


def test_a_quiet_log_says_so_by_rules() -> None:
    assert "Nothing to report" in page([], [])


def test_counts_stay_where_the_model_fails() -> None:
    refused = Answer("99 lines", "99 lines", False, [], tier="heavy", model="m", demo=True, reason="")
    text = page(cluster(LINES, "ERROR"), [refused])
    assert "3 lines in 2 clusters" in text
    assert "99" not in text
    assert text.count("by rules only") == 2
