"""Several real processes, one state folder and fake tiers over HTTP: what counts is how often a tier was called."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from governor import tier_states
from governor.settings import Home, prepare_home
from tests.conftest import at_home
from tests.fakes import cloud_texts as texts
from tests.fakes.cloud_tier import FakeCloudTier, refuses, says
from tests.integration.cloud_agent import WAYS

ROOT = Path(__file__).parents[2]
PROCESSES = 4
SECRET = "zebra-4711"
# The last dialect of these is Gemini's.
CALLS = {"groq": "groq/openai/gpt-oss-120b", "cerebras": "cerebras/gpt-oss-120b", "gemini": "gemini/gemini-3.6-flash"}


class Agent:
    """One process, told jobs line by line."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.integration.cloud_agent"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "NO_PROXY": "*"}, **pipes)

    def tell(self, job: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        return json.loads(self._line())

    def wait_ready(self) -> None:
        assert self._line() == "ready\n"

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Agent]]:
    with at_home(Home(tmp_path_factory.mktemp("tiers") / "home")), ExitStack() as stack:
        prepare_home()
        started = [Agent() for _ in range(PROCESSES)]
        for agent in started:
            stack.callback(agent.end)
        for agent in started:
            agent.wait_ready()
        yield started


def job(
    fake: FakeCloudTier, name: str, way: str = "ask", *, privacy: str | None = "public", **tier: Any
) -> dict[str, Any]:
    """Tiers by name: every test has tiers of its own, since all share the state."""
    known = {
        "name": name,
        "calls": CALLS[name.partition("/")[0]],
        "api_base": fake.address,
        "key_variables": ["A_KEY"],
        "context_tokens": 8192,
        "parameters_billion": 100,
        "free": True,
    }
    return {"way": way, "prompt": f"Say hello to {SECRET}.", "privacy": privacy, "tier": {**known, **tier}}


def all_at_once(agents: list[Agent], *jobs: dict[str, Any]) -> list[dict[str, Any]]:
    """Each agent does each job; all of them at the same time."""
    for one in jobs:
        for agent in agents:
            agent.tell(one)
    return [agent.hear() for _ in jobs for agent in agents]


def errors(heard: list[dict[str, Any]]) -> list[str | None]:
    return [one.get("error") for one in heard]


def closed(name: str) -> tier_states.Closed:
    return tier_states.closed(datetime.now(UTC))[name]


@pytest.mark.parametrize("provider", sorted(CALLS))
def test_the_429_that_one_process_pays_spares_all_others(agents: list[Agent], provider: str):
    with FakeCloudTier(refuses(429, texts.TOO_FAST, Retry_After="40")) as fake:
        one = job(fake, f"{provider}/rate")
        before = datetime.now(UTC)
        agents[0].tell(one)
        assert agents[0].hear()["error"] == "TierShut"
        assert errors(all_at_once(agents, one, one)) == ["TierShut"] * 2 * PROCESSES
        assert fake.hits == 1
    assert timedelta(seconds=39) < closed(one["tier"]["name"]).until - before < timedelta(seconds=45)


def test_a_tier_that_asked_for_a_second_is_called_again_after_it(agents: list[Agent]):
    with FakeCloudTier(refuses(429, texts.TOO_FAST, Retry_After="1"), says("Hello")) as fake:
        one = job(fake, "groq/second")
        agents[0].tell(one)
        assert agents[0].hear()["error"] == "TierShut"
        time.sleep(max(0.0, (closed("groq/second").until - datetime.now(UTC)).total_seconds()))
        assert [heard.get("text") for heard in all_at_once(agents, one)] == ["Hello"] * PROCESSES
        assert fake.hits == 1 + PROCESSES


@pytest.mark.parametrize(
    ("provider", "body", "zone"),
    [("groq", texts.GROQ_DAY, "UTC"), ("gemini", texts.GEMINI_DAY, "America/Los_Angeles")],
)
def test_a_spent_day_closes_the_tier_for_all_until_it_begins_anew(
    agents: list[Agent], provider: str, body: Any, zone: str
):
    with FakeCloudTier(refuses(429, body)) as fake:
        one = job(fake, f"{provider}/day", zone=zone)
        agents[1].tell(one)
        assert agents[1].hear()["error"] == "TierShut"
        assert errors(all_at_once(agents, one)) == ["TierShut"] * PROCESSES
        assert fake.hits == 1
    shut = closed(f"{provider}/day")
    assert shut.closed_for == "quota"
    assert timedelta(minutes=10) < shut.until - datetime.now(UTC) <= timedelta(hours=25)


@pytest.mark.parametrize(("span", "provider"), [("day", "groq"), ("minute", "gemini")])
def test_of_so_many_calls_left_exactly_so_many_are_made(agents: list[Agent], span: str, provider: str):
    left = 6
    with FakeCloudTier(says("Hello")) as fake:
        allowance = {"unit": "requests", "span": span, "amount": left}
        one = job(fake, f"{provider}/left{span}", allowances=[allowance])
        heard = all_at_once(agents, *[one] * 3)
        assert fake.hits == sum(answer.get("text") == "Hello" for answer in heard)
        kept = left // 5 if span == "day" else 0  # head-room for work with a due time
        assert fake.hits == left - kept
        assert errors(heard).count("TierShut") == 3 * PROCESSES - fake.hits


def test_a_tier_that_fails_is_left_alone_by_all(agents: list[Agent]):
    with FakeCloudTier(refuses(503, texts.BUSY)) as fake:
        one = job(fake, "cerebras/broken")
        agents[2].tell(one)
        assert agents[2].hear()["error"] == "ModelFailed"
        assert errors(all_at_once(agents, one)) == ["TierShut"] * PROCESSES
        assert fake.hits == 1


@pytest.mark.parametrize("provider", ["groq", "gemini"])
@pytest.mark.parametrize("privacy", [None, "local_only"])
def test_words_that_stay_on_this_machine_leave_it_on_no_way(agents: list[Agent], privacy: str | None, provider: str):
    with FakeCloudTier(says("stolen")) as fake, FakeCloudTier(refuses(500, texts.BUSY)) as engine:
        name = f"{provider}/private"
        jobs = [job(fake, name, way.__name__, privacy=privacy, trains="no") for way in WAYS]
        heard = []
        for number, one in enumerate(jobs):
            one["engine"] = engine.address
            agents[number % PROCESSES].tell(one)
        for number in range(len(jobs)):
            heard.append(agents[number % PROCESSES].hear())
        for one, answer in zip(jobs, heard, strict=True):
            assert "error" in answer, one["way"]
            assert SECRET not in answer["said"]
        assert (fake.hits, fake.words) == (0, "[]")
        assert SECRET in engine.words  # who may hear it did


def test_words_not_to_train_on_go_to_nobody_who_may_train(agents: list[Agent]):
    with FakeCloudTier(says("stolen")) as fake:
        for trains in ("yes", "unknown"):
            for way in ("ask", "around_the_ledger", "after_public_work"):
                heard = all_at_once(agents[:1], job(fake, "groq/trains", way, privacy="no_training", trains=trains))
                assert errors(heard) == ["Private"]
        assert fake.hits == 0
        assert errors(all_at_once(agents[:1], job(fake, "groq/trains", privacy="public", trains="yes"))) == [None]
        assert fake.hits == 1


def test_no_process_talked_to_anybody_but_to_whom_it_was_told(agents: list[Agent]):
    """No price map, no telemetry, no question to an engine about its models: from the first import on."""
    with FakeCloudTier(says("Hello")) as fake:
        for heard in all_at_once(agents, job(fake, "groq/last")):
            hosts = {contact.rpartition(":")[0] for contact in heard["contacts"]}
            assert hosts == {"127.0.0.1"}
