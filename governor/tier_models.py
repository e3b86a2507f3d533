"""Which model serves each tier of a profile on this machine: the best of those named that is here and fits.

HOTDESK_HEAVY names the heavy one by hand, as ENGINE:MODEL. Which profile it is decides `governor.profile`.
"""

import os

from governor.engines import names, ollama
from governor.errors import BadInput
from governor.machine import Machine
from governor.model_catalogue import ON_GPU_LINE, TIERS, Choice, Model, Written, catalogue
from governor.policy.facts import ModelSpec
from governor.policy.residency import FLOOR_MIB

# Two threads were slower than one on a busy 2-core machine (0.5 against 2.6 tokens/s, measured); past
# four the small model gains nothing.
MOST_THREADS = 4
# Models in the host's memory take at most half of it: the server, the workers and the desktop need the rest.
MODELS_SHARE_OF_MEMORY = 0.5


def serve(written: Written, machine: Machine) -> dict[str, ModelSpec]:
    """The model of each tier; none serves two. Heavy and tiny always have one, the embedded demo model at worst.

    Raises:
        BadInput: `HOTDESK_HEAVY` names no engine and model.
    """
    heavy = _named(written, machine) or _there("heavy", written, machine, set())
    tiers = {"heavy": heavy or shipped_spec("heavy", machine.cores)}
    for tier in TIERS[1:]:
        taken = {spec.model for spec in tiers.values()}
        found = _there(tier, written, machine, taken)
        if tier == "tiny" and (found is None or not _fit_together(found, tiers["heavy"], machine)):
            found = shipped_spec("tiny", machine.cores)
        if found is not None:
            tiers[tier] = found
    return tiers


def wanted(tier: str, written: Written, machine: Machine) -> Choice | None:
    """The best model of a tier that fits this machine, whether it is here or not; None when none fits."""
    return next((choice for choice in written.choices(tier) if fits(choice, tier, written, machine)), None)


def fits(choice: Choice, tier: str, written: Written, machine: Machine) -> bool:
    """Whether it fits on its own: the others may leave for it."""
    return expected_mib(choice, tier, written, machine) <= most_mib(tier, written, machine)


def most_mib(tier: str, written: Written, machine: Machine) -> float:
    """What a model of this tier may take."""
    half = machine.memory_mib * MODELS_SHARE_OF_MEMORY if machine.memory_mib > 0 else float("inf")
    if tier not in ON_GPU_LINE:
        return half
    budget = budget_mib(written, machine)
    return budget if machine.vram_mib > 0 else min(budget, half)


def budget_mib(written: Written, machine: Machine) -> float:
    """What the profile gives to models behind the line `gpu` together: on cards never more than admission would."""
    given = max(written.budget_mib, written.budget_share * machine.vram_mib)
    return min(given, max(0.0, machine.vram_mib - FLOOR_MIB)) if machine.vram_mib > 0 else given


def expected_mib(choice: Choice, tier: str, written: Written, machine: Machine) -> float:
    """What a model would take here: a guess, until it was measured."""
    if choice.expected_mib is not None:
        return choice.expected_mib
    on_card = tier in ON_GPU_LINE and machine.vram_mib > 0
    model = catalogue().models[choice.model]
    return model.expected_mib(choice.context_tokens, engine_slots=written.engine_slots, on_card=on_card)


def who_has(model: Model, machine: Machine, *, on_card: bool) -> tuple[str, str] | None:
    """The engine that has the model, and its name there; None when it is not on this machine."""
    tag = ollama.fitting_model(list(machine.tags), model.ollama) if model.ollama and machine.tags else None
    if tag is not None:
        return "ollama", tag
    file = next((name for name in machine.files if name.lower() == model.file.lower()), None)
    if file is not None and machine.llama_server:
        return "llama_server", file
    # The wheel of the embedded engine has no code for a card.
    return ("embedded", file) if file is not None and not on_card else None


def shipped_spec(tier: str, cores: int) -> ModelSpec:
    """The embedded demo model as it serves a tier (`heavy`, `tiny`) where no other does."""
    demo = catalogue().embedded
    sized = demo.heavy if tier == "heavy" else demo.tiny
    return ModelSpec(
        engine="embedded",
        model=demo.model,
        source=catalogue().models[demo.model].file,
        line=_line(tier),
        context_tokens=sized.context_tokens,
        threads=threads(cores),
        parameters_billion=catalogue().models[demo.model].parameters_billion,
        expected_mib=sized.expected_mib,
        demo=True,
    )


def threads(cores: int) -> int:
    """Threads of one embedded model: half of the cores, since two models may run, one in each line."""
    return max(1, min(MOST_THREADS, cores // 2))


def _there(tier: str, written: Written, machine: Machine, taken: set[str]) -> ModelSpec | None:
    for choice in written.choices(tier):
        spec = _spec(choice, tier, written, machine) if fits(choice, tier, written, machine) else None
        if spec is not None and spec.model not in taken:
            return spec
    return None


def _fit_together(tiny: ModelSpec, heavy: ModelSpec, machine: Machine) -> bool:
    """Whether both have room at once: two that take turns would load again and again."""
    if machine.memory_mib <= 0:
        return True
    both = tiny.expected_mib + (heavy.expected_mib if heavy.memory == "ram" else 0.0)
    return both <= machine.memory_mib * MODELS_SHARE_OF_MEMORY


def _spec(choice: Choice, tier: str, written: Written, machine: Machine) -> ModelSpec | None:
    """The model as the engine runs it that has it; None when none has it."""
    on_card = tier in ON_GPU_LINE and machine.vram_mib > 0
    found = who_has(catalogue().models[choice.model], machine, on_card=on_card)
    return None if found is None else _run_by(found, choice, tier, written, machine)


def _run_by(found: tuple[str, str], choice: Choice, tier: str, written: Written, machine: Machine) -> ModelSpec:
    """The model as this engine runs it that has it under this name."""
    engine_name, source = found
    model = catalogue().models[choice.model]
    # The wheel of the embedded engine has no code for a card.
    on_card = tier in ON_GPU_LINE and machine.vram_mib > 0 and engine_name != "embedded"
    return ModelSpec(
        engine=engine_name,
        model=source.removesuffix(".gguf"),
        source=source,
        line=_line(tier),
        context_tokens=choice.context_tokens,
        gpu_layers=-1 if on_card else 0,
        threads=threads(machine.cores),
        parameters_billion=model.parameters_billion,
        expected_mib=expected_mib(choice, tier, written, machine),
        engine_slots=1 if engine_name == "ollama" else written.engine_slots,
        kinds=model.kinds,
    )


def _line(tier: str) -> str:
    return "gpu" if tier in ON_GPU_LINE else "cpu"


def _named(written: Written, machine: Machine) -> ModelSpec | None:
    """The heavy model that `HOTDESK_HEAVY` names; None when it names none.

    For engines that read weights themselves MODEL is a file in the state folder's `weights`.
    """
    named = os.environ.get("HOTDESK_HEAVY", "").strip()
    if not named:
        return None
    engine_name, _, source = named.partition(":")
    if engine_name not in names() or not source:
        raise BadInput(
            f"HOTDESK_HEAVY is {named!r}; it names an engine and a model, such as llama_server:my-7b.gguf.",
            remedy=f"Engines are {', '.join(names())}; unset it to let the profile choose.",
        )
    # A model that nobody knows is taken for what the profile would have chosen. Heavy is whoever does every kind.
    choice = _known(engine_name, source, written) or wanted("heavy", written, machine) or written.heavy[-1]
    return _run_by((engine_name, source), choice, "heavy", written, machine).model_copy(update={"kinds": frozenset()})


def _known(engine_name: str, source: str, written: Written) -> Choice | None:
    """A model of the catalogue by its tag or file, with the profile's own context where that names it."""
    for model in catalogue().models.values():
        names_it = (
            ollama.fitting_model([model.ollama], source) is not None
            if engine_name == "ollama" and model.ollama
            else model.file.lower() == source.lower()
        )
        if names_it:
            context_tokens = min(written.heavy[-1].context_tokens, model.trained_tokens)
            named = (choice for choice in (*written.heavy, *written.coder) if choice.model == model.name)
            return next(named, Choice(model=model.name, context_tokens=context_tokens))
    return None
