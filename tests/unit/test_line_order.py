"""`hotdesk line`: the order is chosen, kept, shown, and a mistake changes nothing."""

import pytest

from deployments.line_order import run_line
from governor.errors import BadInput
from governor.settings import Home


def choose(name: str = "gpu", **chosen) -> str:
    return run_line(name, **{"order": None, "overtakes": None, "never_after_seconds": None, **chosen})


def test_the_order_is_first_come_first_served_until_one_is_chosen(hotdesk_home: Home):
    assert choose() == "gpu: fifo, first come, first served"


def test_a_chosen_order_is_kept_for_its_line_only(hotdesk_home: Home):
    choose(order="deadline", overtakes=2)
    assert "overtaken 2 times at most, and never when older than 600 s" in choose()
    assert choose("cpu").startswith("cpu: fifo")
    assert "affinity" in choose(order="affinity")
    assert "overtaken 2 times" in choose()


@pytest.mark.parametrize("mistake", [{"order": "vip"}, {"overtakes": -1}, {"name": "tpu", "order": "fifo"}])
def test_a_mistake_names_the_orders_and_changes_nothing(hotdesk_home: Home, mistake):
    choose(order="affinity")
    with pytest.raises(BadInput, match="fifo, affinity, deadline"):
        choose(**mistake)
    assert "affinity" in choose()
