"""One call to the cloud that goes well, or nowhere: what is sent, what comes back, what is written down of it.

The tiers are fake ones, reached over real HTTP through the real client.
"""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from governor import cloud, inference
from governor.errors import BadInput, Private, StateUnavailable, TierShut
from governor.settings import Home
from tests.fakes.cloud_texts import KEY
from tests.fakes.cloud_tier import FakeCloudTier, says
from tests.unit.cloud_stage import CALLS, SECRET, TWO_WAYS, account, ask, request, uses

ROOT = Path(__file__).parents[2]
SCHEMA = {"type": "object", "properties": {"total": {"type": "string"}}, "required": ["total"]}


@pytest.fixture(autouse=True, scope="module")
def imported():
    inference.warm_up()


@pytest.fixture(autouse=True)
def home(hotdesk_home: Home) -> Home:
    return hotdesk_home


@pytest.mark.parametrize("provider", sorted(CALLS))
def test_the_pieces_of_an_answer_become_one_whatever_the_provider_speaks(provider: str):
    with FakeCloudTier(says("Hel", "lo", ".")) as fake:
        said = ask(account(fake, provider), request(system="Be brief.", inputs={"letter": "Dear all"}))
        assert (said.text, said.finish_reason, said.tokens_in, said.tokens_out) == ("Hello.", "stop", 7, 3)
        assert 0 < said.first_token_seconds <= said.seconds
        assert fake.hits == 1
        for words in ("Be brief.", SECRET, "letter:\\n", "Dear all"):
            assert words in fake.words
        assert fake.keys == [KEY]
    assert uses() == [("used", 10, 0.0)]


@pytest.mark.parametrize("provider", sorted(CALLS))
def test_what_the_cap_cut_off_says_so(provider: str):
    with FakeCloudTier(says("Hel", finish="length")) as fake:
        assert ask(account(fake, provider)).finish_reason == "length"


def test_an_answer_that_does_not_say_what_it_took_is_counted_all_the_same():
    with FakeCloudTier(says("Hello", counts=False)) as fake:
        ask(account(fake))
    [(state, tokens, _)] = uses()
    assert state == "used"
    assert 0 < tokens < 100


def test_a_paid_call_is_settled_at_its_list_price():
    with FakeCloudTier(says("Hello")) as fake:
        ask(account(fake, free=False, input_usd=100.0, output_usd=1000.0), ceiling_usd=1.0)
    assert uses() == [("used", 8, pytest.approx((7 * 100 + 1000) / 1e6))]


@pytest.mark.parametrize("price", [{}, {"input_usd": 1.0, "output_usd": 1.0}])
def test_what_is_not_free_is_not_called_without_a_ceiling(price: dict[str, float]):
    with FakeCloudTier(says("Hello")) as fake:
        paid: dict[str, Any] = {"free": False, **price}
        with pytest.raises(TierShut):
            ask(account(fake, **paid))
        assert fake.hits == 0
    assert uses() == []


# --- where words may go


@pytest.mark.parametrize(
    ("privacy", "trains"),
    [
        (None, "no"),
        ("local_only", "no"),
        ("local_only", "unknown"),
        ("no_training", "unknown"),
        ("no_training", "yes"),
    ],
)
def test_private_words_go_nowhere_and_nothing_is_reserved(privacy: str | None, trains: str):
    with FakeCloudTier(says("Hello")) as fake:
        with pytest.raises(Private) as caught:
            ask(account(fake, trains=trains), request(privacy=privacy))
        assert fake.hits == 0
    assert uses() == []
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("privacy", "trains"), [("no_training", "no"), ("public", "yes"), ("public", "unknown")])
def test_words_go_where_they_may(privacy: str, trains: str):
    with FakeCloudTier(says("Hello")) as fake:
        assert ask(account(fake, trains=trains), request(privacy=privacy)).text == "Hello"


def test_an_allowance_that_is_spent_is_refused_before_anything_is_sent():
    one_call = ({"unit": "requests", "span": "minute", "amount": 1},)
    with FakeCloudTier(says("Hello")) as fake:
        one = account(fake, allowances=one_call)
        ask(one)
        with pytest.raises(TierShut):
            ask(one)
        assert fake.hits == 1


def test_only_ask_cloud_lets_a_prompt_out_of_this_machine():
    """Every other caller would go past the ledger: the source is walked for the name, called or passed on."""
    users = set()
    for package in ("governor", "blocks", "flows", "deployments"):
        for path in (ROOT / package).rglob("*.py"):
            names = {
                node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
                for node in ast.walk(ast.parse(path.read_text()))
            }
            imported = {
                alias.name
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            if "complete_in_cloud" in names | imported:
                users.add(path.name)
            assert "cloud_router" not in names | imported or path.name in ("routers.py", "inference.py"), path
    assert users == {"cloud.py"}


def test_an_answer_is_not_lost_when_it_cannot_be_written_down(monkeypatch: pytest.MonkeyPatch):
    def locked(*_: Any, **__: Any) -> None:
        raise StateUnavailable("The database is locked.", remedy="Wait.")

    with FakeCloudTier(says("Hello")) as fake:
        one = account(fake)
        monkeypatch.setattr(cloud.ledger, "settle", locked)
        monkeypatch.setattr(cloud.tier_states, "succeeded", locked)
        assert ask(one).text == "Hello"
    assert [state for state, _, _ in uses()] == ["reserved"]


# --- constraints


def test_a_schema_goes_where_it_is_known_and_in_words_elsewhere():
    with FakeCloudTier(says('{"total": "3"}')) as fake:
        said = ask(account(fake), request(json_schema=SCHEMA))
        assert json.loads(said.text) == {"total": "3"}
        ask(account(fake, json_schema=False), request(json_schema=SCHEMA, system="Be brief."))
    formatted, worded = fake.bodies
    assert formatted["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "response_format" not in worded
    assert worded["messages"][0]["content"].startswith("Be brief.")
    assert json.dumps(SCHEMA) in worded["messages"][0]["content"]


def test_an_answer_that_is_not_as_the_schema_says_is_handed_on_to_who_judges_it():
    with FakeCloudTier(says('{"sum": 3}')) as fake:
        assert ask(account(fake), request(json_schema=SCHEMA)).text == '{"sum": 3}'


@pytest.mark.parametrize("said", ['{"label": "no spam"}', '"no spam"', "no spam", '```json\n{"label": "no spam"}\n```'])
@pytest.mark.parametrize("takes_schema", [True, False])
def test_a_label_comes_back_plain(said: str, takes_schema: bool):
    with FakeCloudTier(says(said)) as fake:
        asked = request(choices=("spam", "no spam"), max_tokens=1)
        assert ask(account(fake, json_schema=takes_schema), asked).text == "no spam"
    [body] = fake.bodies
    assert body["max_tokens"] >= len('{"label": "no spam"}')
    assert ("response_format" in body) is takes_schema
    assert takes_schema or "no spam" in body["messages"][0]["content"]


@pytest.mark.parametrize("provider", TWO_WAYS)
def test_text_that_is_no_text_is_mended_both_ways(provider: str):
    """Half a surrogate pair cannot be encoded; a NUL ends a text for some. Marks of direction are text."""
    with FakeCloudTier(says("a\ud83d", "\ude00b\udc80\x00\u202ec")) as fake:
        said = ask(account(fake, provider), request(prompt=f"x\x00z\u202e{SECRET}"))
    assert said.text == "a\U0001f600b\ufffd\ufffd\u202ec"
    assert "x\ufffdz\u202e" in fake.words


def test_a_text_to_embed_goes_to_no_tier_of_the_cloud():
    with FakeCloudTier(says("Hello")) as fake:
        with pytest.raises(BadInput):
            ask(account(fake), request(kind="embed"))
        assert fake.hits == 0
