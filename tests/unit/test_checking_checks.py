"""The judges of the checks: from facts to findings, each limit from both sides."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from packaging.version import Version

from blocks.checking import (
    advisories,
    backups,
    broken_links,
    certificates,
    data_quality,
    disks,
    prices,
    uptime,
)
from blocks.checking.backups import BackupFile, Backups
from blocks.checking.broken_links import Leads, Link, Links
from blocks.checking.certificates import Certificate, Certificates
from blocks.checking.data_quality import Column, Data, Table
from blocks.checking.disks import Disk
from blocks.checking.failure_causes import CAUSES, causes_of, spoken_for
from blocks.checking.findings import Finding, Severity, fail, fine, named, ordered, verdict, warn
from blocks.checking.prices import Price, PriceList
from blocks.checking.settings import Check, CheckSettings, DataRule, Must
from blocks.checking.uptime import Probed, Uptime

NOW = datetime(2026, 11, 25, 4, 0, tzinfo=UTC)
SETTINGS = CheckSettings()


def worst(findings: list[Finding], subject: str) -> str:
    """Severity of what is said about a subject."""
    return verdict([finding for finding in findings if finding.subject == subject])


def backup(hours: float, size: int = 1000, checksum: str = "ok") -> BackupFile:
    return BackupFile(set="mail", name=f"mail-{hours}", bytes=size, at=NOW - timedelta(hours=hours), checksum=checksum)


@pytest.mark.parametrize(
    ("files", "severity"),
    [
        ([backup(2), backup(26)], "ok"),
        ([backup(35.9), backup(60)], "ok"),
        ([backup(36.1), backup(60)], "fail"),
        ([backup(2, 499), backup(26), backup(50)], "fail"),
        ([backup(2, 501), backup(26), backup(50)], "ok"),
        ([backup(2, 0), backup(26)], "fail"),
        ([backup(2, checksum="wrong"), backup(26)], "fail"),
        ([backup(2, checksum="missing"), backup(26)], "warn"),
        ([backup(2)], "warn"),
        ([backup(-5), backup(2)], "warn"),
    ],
)
def test_a_backup_set_is_judged_by_age_size_and_checksum_of_its_newest_file(
    files: list[BackupFile], severity: str
) -> None:
    assert worst(backups.judge(Backups(files=tuple(files)), SETTINGS, NOW), "mail") == severity


def test_ages_in_a_list_count_from_when_it_was_made_and_an_old_list_fails() -> None:
    late = NOW + timedelta(days=20)
    facts = Backups(files=(backup(2), backup(26)), listed_at=NOW)
    assert worst(backups.judge(facts, SETTINGS, late), "mail") == "ok"
    assert worst(backups.judge(facts, SETTINGS, late), "the list") == "fail"


@pytest.mark.parametrize(("free", "severity"), [(50, "ok"), (15, "ok"), (14, "warn"), (5, "warn"), (4, "fail")])
def test_a_disk_fails_below_its_limit(free: int, severity: str) -> None:
    assert worst(disks.judge([Disk(path="/", total_bytes=100, free_bytes=free)], SETTINGS), "/") == severity


def test_a_disk_without_free_files_fails_and_senseless_figures_are_no_verdict() -> None:
    full = Disk(path="/", total_bytes=100, free_bytes=90, total_files=100, free_files=1)
    assert worst(disks.judge([full], SETTINGS), "/") == "fail"
    assert worst(disks.judge([Disk(path="/", total_bytes=0, free_bytes=0)], SETTINGS), "/") == "warn"


@pytest.mark.parametrize(
    ("days", "severity"), [(400, "ok"), (30.5, "ok"), (29.5, "warn"), (7.5, "warn"), (6.5, "fail"), (-1, "fail")]
)
def test_a_certificate_is_judged_by_the_days_it_has_left(days: float, severity: str) -> None:
    one = Certificate(
        file="a.pem",
        position=1,
        name="a",
        issuer="ca",
        begins=NOW - timedelta(days=1),
        ends=NOW + timedelta(days=days),
    )
    assert worst(certificates.judge(Certificates(found=(one,), broken={}), SETTINGS, NOW), "a.pem") == severity


def test_a_certificate_of_tomorrow_and_a_broken_file_fail() -> None:
    one = Certificate(
        file="a.pem",
        position=1,
        name="a",
        issuer="a",
        begins=NOW + timedelta(days=1),
        ends=NOW + timedelta(days=99),
    )
    found = certificates.judge(Certificates(found=(one,), broken={"b.pem": "no PEM"}), SETTINGS, NOW)
    assert (worst(found, "a.pem"), worst(found, "b.pem")) == ("fail", "fail")


def probes(statuses: list[int], seconds: float = 0.1) -> tuple[Probed, ...]:
    ends = NOW - timedelta(minutes=len(statuses))
    return tuple(
        Probed(address="x", at=ends + timedelta(minutes=n), status=status, seconds=seconds)
        for n, status in enumerate(statuses)
    )


@pytest.mark.parametrize(
    ("facts", "severity"),
    [
        (Uptime(probes=probes([200] * 20)), "ok"),
        (Uptime(probes=probes([200] * 20 + [0])), "fail"),
        (Uptime(probes=probes([200] * 20 + [503])), "fail"),
        (Uptime(probes=probes([500] * 2 + [200] * 20)), "fail"),
        (Uptime(probes=probes([500] + [200] * 3)), "ok"),  # a share of four answers says nothing
        (Uptime(probes=probes([200] * 20, seconds=4)), "warn"),
        (Uptime(probes=probes([301] * 20)), "ok"),
    ],
)
def test_an_address_is_judged_by_its_last_answer_then_by_its_share_then_by_its_speed(
    facts: Uptime, severity: str
) -> None:
    assert worst(uptime.judge(facts, SETTINGS, NOW), "x") == severity


def test_addresses_beyond_the_bound_are_named() -> None:
    facts = Uptime(probes=probes([200]), left_out=("https://y.example",))
    assert worst(uptime.judge(facts, SETTINGS, NOW), "https://y.example") == "warn"


def test_a_log_that_ended_long_ago_fails_whatever_it_says() -> None:
    facts = Uptime(probes=probes([200] * 20), logged=True)
    assert verdict(uptime.judge(facts, SETTINGS, NOW)) is Severity.OK
    assert verdict(uptime.judge(facts, SETTINGS, NOW + timedelta(days=1))) is Severity.FAIL


@pytest.mark.parametrize(
    ("events", "version", "covered"),
    [
        ([{"introduced": "0"}], "1.0", True),
        ([{"introduced": "0"}, {"fixed": "1.1"}], "1.0", True),
        ([{"introduced": "0"}, {"fixed": "1.1"}], "1.1", False),
        ([{"introduced": "1.0"}, {"last_affected": "1.4"}], "1.4", True),
        ([{"introduced": "1.0"}, {"last_affected": "1.4"}], "1.4.1", False),
        ([{"fixed": "1.1"}, {"introduced": "0"}], "1.0", True),  # in any order
        ([{"introduced": "1"}, {"fixed": "1.5"}, {"introduced": "2"}, {"fixed": "2.5"}], "1.7", False),
        ([{"introduced": "1"}, {"fixed": "1.5"}, {"introduced": "2"}, {"fixed": "2.5"}], "2.1", True),
        ([{"introduced": "1.0"}], "1.0rc1", False),
        ([{"introduced": "one"}], "1.0", None),
        ([], "1.0", False),
    ],
)
def test_a_version_is_covered_as_the_events_of_an_advisory_say(
    events: list[dict[str, str]], version: str, covered: bool | None
) -> None:
    affected: dict[str, Any] = {"ranges": [{"type": "ECOSYSTEM", "events": events}]}
    assert advisories.covers(affected, Version(version)) is covered


def advisory(name: str, **more: Any) -> dict[str, Any]:
    affected = {"package": {"ecosystem": "PyPI", "name": name}, "ranges": [{"events": [{"introduced": "0"}]}]}
    return {"id": "A-1", "summary": "a hole", "affected": [affected], **more}


@pytest.mark.parametrize(
    ("known", "severity"),
    [
        (advisory("big_pack"), "fail"),
        (advisory("Big.Pack"), "fail"),
        (advisory("big-pack", database_specific={"severity": "LOW"}), "warn"),
        (advisory("big-pack", database_specific={"severity": "CRITICAL"}), "fail"),
        (advisory("big-pack", withdrawn="2026-01-01T00:00:00Z"), "ok"),
        (advisory("bigpack"), "ok"),
        ({"id": "A-2", "affected": "everything"}, "ok"),
        ({"id": "A-3", "affected": [{"package": "big-pack"}, 7, None]}, "ok"),
    ],
)
def test_an_advisory_fails_unless_it_is_withdrawn_or_can_wait(known: dict[str, Any], severity: str) -> None:
    facts = advisories.Dependencies(
        packages=(advisories.Package(ecosystem="PyPI", name="big-pack", version="1.0"),), advisories=(known,)
    )
    assert verdict(advisories.judge(facts)) == severity


@pytest.mark.parametrize(
    ("link", "severity"),
    [
        (Link(page="a.md", line=1, target="b.md", leads=Leads.THERE), "ok"),
        (Link(page="a.md", line=1, target="b.md", leads=Leads.NO_FILE), "fail"),
        (Link(page="a.md", line=1, target="../b.md", leads=Leads.OUTSIDE), "fail"),
        (Link(page="a.md", line=1, target="#b", leads=Leads.NO_HEADING), "warn"),
        (Link(page="a.md", line=1, target="http://x.example", leads=Leads.WEB), "ok"),
        (Link(page="a.md", line=1, target="http://x.example", leads=Leads.WEB, status=404), "fail"),
        (Link(page="a.md", line=1, target="http://x.example", leads=Leads.WEB, status=0, problem="no"), "warn"),
        (Link(page="a.md", line=1, target="http://x.example", leads=Leads.WEB, status=200), "ok"),
    ],
)
def test_a_link_that_leads_nowhere_fails(link: Link, severity: str) -> None:
    assert verdict(broken_links.judge(Links(pages=1, links=(link,)))) == severity


DATA = Data(
    tables={
        "t": Table(
            rows=3,
            columns={
                "id": Column(values=("1", "2", "2")),
                "n": Column(values=("5", "nan", None)),
                "d": Column(values=("2026-01-01", "31.02.2026", None)),
                "e": Column(values=("a", " ", None)),
                "r": Column(values=("1", "9", None)),
            },
        )
    }
)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (DataRule(table="t", column="id", must=Must.UNIQUE), "2 rows"),
        (DataRule(table="t", column="n", must=Must.RANGE, least=0, most=10), "1 rows"),
        (DataRule(table="t", column="d", must=Must.DATE), "1 rows"),
        (DataRule(table="t", column="e", must=Must.NOT_EMPTY), "2 rows"),
        (DataRule(table="t", column="r", must=Must.REFERENCE, references="t.id"), "1 rows"),
        (DataRule(table="t", column="x", must=Must.UNIQUE), "no column"),
        (DataRule(table="u", column="x", must=Must.UNIQUE), "no table"),
        (DataRule(table="t", must=Must.SAME_COUNT), "-25.0 %"),
    ],
)
def test_each_rule_of_the_data_counts_what_breaks_it(rule: DataRule, value: str) -> None:
    [finding] = data_quality.judge(DATA, [rule], {"rows:t": 4.0})
    assert (finding.severity, finding.value) == (Severity.FAIL, value)


def test_without_an_earlier_count_nothing_has_changed() -> None:
    rule = DataRule(table="t", must=Must.SAME_COUNT)
    assert [f.severity for f in data_quality.judge(DATA, [rule], {})] == [Severity.OK]
    assert [f.severity for f in data_quality.judge(DATA, [rule], {"rows:t": 3.0})] == [Severity.OK]


def list_of(**amounts: str) -> PriceList:
    found = {k: Price(item=k, amount=Decimal(v.split()[0]), currency=v.split()[1]) for k, v in amounts.items()}
    return PriceList(name="now", prices=found)


@pytest.mark.parametrize(
    ("now", "severity"),
    [
        (list_of(a="10 EUR"), "ok"),
        (list_of(a="12 EUR"), "ok"),
        (list_of(a="12.01 EUR"), "fail"),
        (list_of(a="7.99 EUR"), "fail"),
        (list_of(a="10 USD"), "fail"),
        (list_of(b="10 EUR"), "fail"),
        (list_of(a="10 EUR", b="3 EUR"), "ok"),
    ],
)
def test_a_price_fails_when_it_changes_too_much_or_goes(now: PriceList, severity: str) -> None:
    assert verdict(prices.judge(now, list_of(a="10 EUR").prices, SETTINGS)) == severity


def test_worst_findings_come_first() -> None:
    found = ordered([fine("a", "x"), fail("b", "x"), warn("c", "x"), fail("a", "x")])
    assert [(f.severity, f.subject) for f in found] == [("fail", "a"), ("fail", "b"), ("warn", "c"), ("ok", "a")]
    assert verdict([]) is Severity.OK


def test_a_name_from_outside_stays_a_name() -> None:
    assert named("a\n\n# heading <script>x</script>\x1b[31m\u202e<|im_start|>").isprintable()
    assert len(named("x" * 10_000)) == 100


def test_a_cause_stands_only_where_the_finding_speaks_for_it() -> None:
    finding = fail("mail", "The newest backup of mail is 9 days old; at most 36 hours are allowed.")
    offered = causes_of(Check.BACKUP, finding)
    rule = spoken_for(Check.BACKUP, finding)
    assert [bool(rule(cause)) for cause in offered] == [False, False, True]
    assert rule("All backups are fine.")


def test_every_check_has_causes_of_its_own_and_none_is_asked_for_without_evidence() -> None:
    assert set(CAUSES) == set(Check)
    assert causes_of(Check.PRICES, fail("x", "Something else.")) == ()
