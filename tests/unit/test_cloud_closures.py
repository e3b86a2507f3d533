"""What one refusal of the cloud closes beside the tier that gave it, and whom it keeps from calling."""

from datetime import UTC, datetime

import pytest

from governor import inference, tier_states
from governor.errors import TierShut
from governor.policy.requests import Allowance, Span
from governor.routing import Asker, gather_facts
from tests.fakes import cloud_texts as texts
from tests.fakes.cloud_tier import FakeCloudTier, refuses, says
from tests.unit.cloud_stage import ask, cloud_account, request

pytestmark = pytest.mark.usefixtures("hotdesk_home")
GROQ, SIBLING = "groq/gpt-oss-120b", "groq/gpt-oss-20b"
ONE_KEY = ("GROQ_API_KEY",)


@pytest.fixture(autouse=True, scope="module")
def imported():
    inference.warm_up()


def closed() -> dict[str, str]:
    return {tier: shut.closed_for for tier, shut in tier_states.closed(datetime.now(UTC)).items()}


def test_a_refused_key_closes_what_is_called_with_it_and_another_key_is_tried_at_once():
    with FakeCloudTier(refuses(401, texts.WRONG_KEY), says("Hello")) as fake:
        wrong = cloud_account(fake.address, GROQ, key_variables=ONE_KEY)
        right = cloud_account(fake.address, GROQ, "FAKE-key-other", key_variables=ONE_KEY)
        for _ in range(2):
            with pytest.raises(TierShut):
                ask(wrong)
        assert fake.hits == 1
        assert closed() == {GROQ: "key", SIBLING: "key"}
        assert ask(right).text == "Hello"
    assert closed() == {SIBLING: "key"}


def test_who_has_another_key_than_the_refused_one_is_routed_to_the_tier():
    with FakeCloudTier(refuses(401, texts.WRONG_KEY)) as fake:
        wrong, right = (cloud_account(fake.address, GROQ, key) for key in (texts.KEY, "FAKE-key-other"))
        with pytest.raises(TierShut):
            ask(wrong)
    found = [gather_facts(request(), Asker("test", accounts=(one,)), datetime.now(UTC)) for one in (wrong, right)]
    assert [facts.clouds[0].closed_until is None for facts in found] == [False, True]


def test_a_spent_allowance_closes_every_tier_that_shares_it():
    day = Allowance(unit="requests", span=Span.DAY, amount=50, shared=True)
    with FakeCloudTier(refuses(429, texts.OPENROUTER_DAY)) as fake, pytest.raises(TierShut):
        ask(cloud_account(fake.address, "openrouter/some-model", allowances=(day,)))
    assert closed() == {"openrouter/free": "quota", "openrouter/some-model": "quota"}
