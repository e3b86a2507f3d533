"""Where the ladder stands, in the state folder: read by whoever admits, evicts or shows; moved by `governing` alone."""

from pydantic import ValidationError
from sqlalchemy.orm import Session

from governor.policy.facts import Rung
from governor.policy.ladder import Standing
from governor.policy.rules import Rules
from governor.state.models import Setting
from governor.state.sessions import reading, transaction

STANDING_KEY, RUNG_KEY, RULES_KEY = "standing", "rung", "governor_rules"


def standing() -> Standing:
    """Where it stands now, for whoever does what a rung says: under a dry run none is in force."""
    with reading() as session:
        return Standing() if recalled_rules(session).dry_run else recalled(session)


def current_rung() -> Rung:
    """Its rung alone."""
    return standing().rung


def recalled(session: Session) -> Standing:
    """The same inside a transaction; what another release wrote otherwise counts as normal."""
    kept = session.get(Setting, STANDING_KEY)
    try:
        return Standing.model_validate_json(kept.value) if kept else Standing()
    except ValidationError:
        return Standing()


def keep(session: Session, after: Standing) -> None:
    """Write it down, with the rung for who only shows that."""
    session.merge(Setting(key=STANDING_KEY, value=after.model_dump_json()))
    session.merge(Setting(key=RUNG_KEY, value=after.rung.value))


def known_rules() -> Rules:
    """The operator's rules as the flow `govern` left them; the defaults where it left none that can be read."""
    with reading() as session:
        return recalled_rules(session)


def recalled_rules(session: Session) -> Rules:
    """The same inside a transaction."""
    kept = session.get(Setting, RULES_KEY)
    try:
        return Rules.model_validate_json(kept.value) if kept else Rules()
    except ValidationError:
        return Rules()


def keep_rules(rules: Rules) -> None:
    """For the sentinels, which cannot ask the server."""
    with transaction() as session:
        session.merge(Setting(key=RULES_KEY, value=rules.model_dump_json()))
