"""Limits that were changed and leases that were left behind are set right, on a real server."""

from datetime import timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from governor.state.models import Slot
from governor.state.sessions import transaction
from tests.integration.mirroring import LONG_AGO, limit_of, now, take_slot, ticket

pytest_plugins = ["tests.integration.mirroring"]


def test_missing_limit_is_created(client: SyncPrefectClient, line: str, look: Any) -> None:
    assert look(2) == [f"limit {line} was missing; it was created"]
    assert (limit_of(client).limit, limit_of(client).active) == (2, True)
    assert look(2) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"active": False}, "inactive"), ({"limit": 3}, "had 3 slots"), ({"slot_decay_per_second": 0.5}, "by time")],
)
def test_limit_that_was_changed_is_set_right_and_its_slots_stay(
    client: SyncPrefectClient, line: str, look: Any, wrong: dict[str, Any], said: str
) -> None:
    look(2)
    lease = take_slot(client)
    client.update_global_concurrency_limit(line, GlobalConcurrencyLimitUpdate(**wrong))
    (sentence,) = look(2)
    assert said in sentence
    right = limit_of(client)
    assert (right.limit, right.active, right.slot_decay_per_second, right.active_slots) == (2, True, 0.0, 1)
    client.release_concurrency_slots_with_lease(lease)


# -- leases -------------------------------------------------------------------------------------------


def test_lease_of_an_ended_ticket_is_given_back_once_and_a_strangers_stays(
    client: SyncPrefectClient, line: str, look: Any
) -> None:
    look(2)
    uuid = ticket("reaped")
    take_slot(client, uuid)
    stranger = take_slot(client)
    (sentence,) = look(2)
    assert "digest/lost" in sentence
    assert limit_of(client).active_slots == 1
    again = take_slot(client, uuid)
    assert look(2) == []  # one release a ticket: a second one at the same time would free two slots
    assert limit_of(client).active_slots == 2
    for lease in (stranger, again):
        client.release_concurrency_slots_with_lease(lease)


@pytest.mark.parametrize("kept_because", ["seated", "in a row", "just ended", "about to end"])
def test_lease_that_somebody_else_may_release_is_left_alone(
    client: SyncPrefectClient, line: str, look: Any, kept_because: str
) -> None:
    look(1)
    ended = timedelta(seconds=1) if kept_because == "just ended" else LONG_AGO
    lease = take_slot(client, ticket("seated" if kept_because == "seated" else "done", ended=ended))
    if kept_because == "in a row":  # handed over: the next ticket sits under the lease of the first
        with transaction() as session:
            session.add(Slot(line=line, index=0, state="held", lease_id=str(lease)))
    late = timedelta(seconds=50) if kept_because == "about to end" else timedelta(0)
    assert look(1, at=now() + late) == []
    assert limit_of(client).active_slots == 1
    client.release_concurrency_slots_with_lease(lease)
