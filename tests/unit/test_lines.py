"""Names of lines: what they mean, and which may be asked for from which."""

import pytest

from governor.policy.lines import LineName, may_nest, parse


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("gpu", LineName("gpu")),
        ("gpu:1", LineName("gpu", "", 1)),
        ("gpu:tower:0", LineName("gpu", "tower", 0)),
        ("cpu:lab-2.local:12", LineName("cpu", "lab-2.local", 12)),
    ],
)
def test_a_name_is_its_parts_and_back(name, parts):
    assert parse(name) == parts
    assert str(parts) == name


@pytest.mark.parametrize("name", ["", "tpu", "gpu:", "gpu:a/b", "gpu:1:1", "GPU"])
def test_what_is_no_line_is_refused(name):
    with pytest.raises(ValueError, match="no line"):
        parse(name)


@pytest.mark.parametrize(
    ("held", "wanted", "allowed"),
    [
        ("gpu", "cpu", True),
        ("gpu:1", "cpu", True),
        ("cpu", "gpu", False),
        ("gpu", "gpu:1", False),
        ("cpu", "cpu", False),
    ],
)
def test_desks_are_asked_for_in_one_direction(held, wanted, allowed):
    assert may_nest(held, wanted) is allowed
