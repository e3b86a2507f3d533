"""The governor's flow on the real server: it tidies the line and sets the limit right, and says so."""

import subprocess
import sys

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from governor.lease import PrefectLimit, lease_storage, served_leases
from governor.settings import Home
from tests.crash.test_holder_is_killed import active_slots

HOLD = (
    "import sys\nfrom governor.desk import line_of\nfrom governor.effects import RealEffects\n"
    "from governor.lease import PrefectLimit\nfrom governor.settings import home\n"
    "from governor.ticket import Errand\nfrom governor.turn import Turn\n"
    "with PrefectLimit('gpu') as limit:\n"
    "    errand = Errand('gpu', 'digest/left', 'm', 60.0)\n"
    "    line = line_of('gpu'); line.ensure_slots(1)\n"
    "    turn = Turn(line, limit, RealEffects(home().bells), errand, slots=1, budget_seconds=600)\n"
    "    turn.take(); turn.wait(); print('seated', flush=True); sys.stdin.read()\n"
)


def test_a_desk_that_the_dead_left_and_a_limit_changed_by_hand_are_set_right_by_the_governor(fleet_server: Home):
    holder = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdin is not None
    assert holder.stdout.readline().strip() == "seated"
    holder.kill()
    holder.wait(10)
    holder.stdout.close()
    holder.stdin.close()
    with PrefectLimit("cpu") as limit:
        limit.client.update_global_concurrency_limit("cpu", GlobalConcurrencyLimitUpdate(active=False))
    run = subprocess.run(
        [sys.executable, "-c", "from flows.govern import govern; print(govern())"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout.strip().splitlines()[-1] in ("normal", "trim"), run.stderr
    assert active_slots("gpu") == 0
    with PrefectLimit("cpu") as limit:
        assert limit.client.read_global_concurrency_limit_by_name("cpu").active


def test_the_server_says_where_it_keeps_its_leases(fleet_server: Home):
    with get_client(sync_client=True) as client:
        assert lease_storage(client).endswith("filesystem")
        assert served_leases(client) == fleet_server.prefect / "concurrency_leases"
