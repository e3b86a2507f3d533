"""Slots that nobody holds are free again, slots that somebody may hold are not (real server)."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from governor.lease_files import read_leases
from governor.state.models import Slot
from governor.state.sessions import transaction
from tests.integration.mirroring import LONG_AGO, limit_of, now, run_that_ended, states_of_the_line, take_slot, ticket

pytest_plugins = ["tests.integration.mirroring"]


@pytest.fixture
def stuck(client: SyncPrefectClient, line: str, look: Any) -> str:
    """The line's limit after disable, release, enable: one slot taken, no lease."""
    look(1)
    lease = take_slot(client)
    client.update_global_concurrency_limit(line, GlobalConcurrencyLimitUpdate(active=False))
    client.release_concurrency_slots_with_lease(lease)
    client.update_global_concurrency_limit(line, GlobalConcurrencyLimitUpdate(active=True))
    assert limit_of(client).active_slots == 1
    return line


def test_stuck_slot_is_free_again_at_the_second_look(client: SyncPrefectClient, stuck: str, look: Any) -> None:
    first = now()
    assert look(1, at=first) == []
    assert look(1, at=first + timedelta(seconds=1)) == []
    assert limit_of(client).active_slots == 1
    assert look(1, at=first + timedelta(seconds=2)) == [
        f"limit {stuck} had 1 slots taken that nobody held; they are free again"
    ]
    assert states_of_the_line() == ["free"]
    client.release_concurrency_slots_with_lease(take_slot(client))


def test_stuck_slot_seen_long_ago_must_be_seen_twice_anew(client: SyncPrefectClient, stuck: str, look: Any) -> None:
    assert look(1) == []
    assert look(1, at=now() + LONG_AGO) == []
    assert limit_of(client).active_slots == 1
    assert look(1, at=now() + LONG_AGO + timedelta(seconds=3)) != []


@pytest.mark.parametrize("in_use_by", ["a row", "an asking ticket", "a lease"])
def test_slot_that_somebody_may_hold_is_never_reset(
    client: SyncPrefectClient, stuck: str, look: Any, in_use_by: str
) -> None:
    look(1)
    lease = None
    if in_use_by == "a row":
        with transaction() as session:
            session.add(Slot(line=stuck, index=0, state="offered"))
    elif in_use_by == "an asking ticket":
        ticket("asking")
    else:
        client.update_global_concurrency_limit(stuck, GlobalConcurrencyLimitUpdate(active_slots=0))
        lease = take_slot(client)
    assert look(1, at=now() + timedelta(seconds=5)) == []
    assert limit_of(client).active_slots == 1
    if lease:
        client.release_concurrency_slots_with_lease(lease)


class Interposed:
    """The real client, with something done before each update of a limit."""

    def __init__(self, client: SyncPrefectClient, before_update: Callable[[], None]) -> None:
        self._client, self._before_update = client, before_update

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def update_global_concurrency_limit(self, *args: Any) -> Any:
        self._before_update()
        return self._client.update_global_concurrency_limit(*args)


def test_nobody_of_ours_can_begin_to_ask_while_a_slot_is_reset(
    client: SyncPrefectClient, stuck: str, look: Any
) -> None:
    seen: list[list[str]] = []
    look(1)
    spying = Interposed(client, lambda: seen.append(states_of_the_line()))
    look(1, at=now() + timedelta(seconds=5), client=spying)
    assert seen == [["releasing"]]
    assert states_of_the_line() == ["free"]


def test_reset_that_fails_leaves_the_line_free_and_stops_no_other_part(
    client: SyncPrefectClient, stuck: str, look: Any
) -> None:
    def fail() -> None:
        raise httpx.ReadTimeout("no answer")

    look(1)
    (sentence,) = look(1, at=now() + timedelta(seconds=5), client=Interposed(client, fail))
    assert "ReadTimeout" in sentence
    assert states_of_the_line() == ["free"]


def test_lease_written_while_a_slot_is_reset_is_counted(client: SyncPrefectClient, stuck: str, look: Any) -> None:
    late: list[UUID] = []

    def free_and_take() -> None:  # as if the server had been slow to write the lease of the counted slot
        if not late:
            client.update_global_concurrency_limit(stuck, GlobalConcurrencyLimitUpdate(active_slots=0))
            late.append(take_slot(client))

    look(1)
    look(1, at=now() + timedelta(seconds=5), client=Interposed(client, free_and_take))
    assert limit_of(client).active_slots == 1
    client.release_concurrency_slots_with_lease(late[0])


@pytest.mark.parametrize("leases", ["remote", "unreadable", "another place"])
def test_without_the_lease_files_a_person_is_told_the_command(
    client: SyncPrefectClient, stuck: str, look: Any, tmp_path: Path, leases: str
) -> None:
    (tmp_path / f"{uuid4()}.json").write_text("{")
    folder = {"remote": None, "unreadable": tmp_path}.get(leases, tmp_path / "no" / "such" / "home")
    assert look(1, leases=folder) == []
    (sentence,) = look(1, leases=folder, at=now() + timedelta(seconds=5))
    assert f"prefect gcl update {stuck} --active-slots 0" in sentence
    assert limit_of(client).active_slots == 1


def test_server_that_never_gave_a_lease_has_none(tmp_path: Path) -> None:
    assert read_leases(tmp_path / "concurrency_leases") == []


def test_deployment_whose_place_stays_taken_is_free_again_at_the_second_look(
    client: SyncPrefectClient, deployment_id: UUID, look: Any
) -> None:
    name = f"deployment:{deployment_id}"
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=1))
    assert look() == []
    assert limit_of(client, name).active_slots == 1
    (sentence,) = look(at=now() + timedelta(seconds=5))
    assert "agent" in sentence
    assert limit_of(client, name).active_slots == 0


def test_place_of_a_run_under_way_is_never_reset(client: SyncPrefectClient, deployment_id: UUID, look: Any) -> None:
    name = f"deployment:{deployment_id}"
    run_that_ended(client, deployment_id, None)
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=1))
    assert look() == []
    assert look(at=now() + timedelta(seconds=5)) == []
    assert limit_of(client, name).active_slots == 1
