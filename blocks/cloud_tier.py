"""A cloud tier as a Prefect Block: an operator's key to it, and what is different from the catalogue.

What tiers there are and what a key is turned into is `governor.tier_catalogue` and `governor.accounts`. A document that
is wrong is told of in the log and left out; it never stops another tier, an agent or a model of this machine.
"""

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, SecretStr, ValidationError

from governor.accounts import CloudAccount, environment_account
from governor.errors import BadInput
from governor.policy.requests import Allowance, CloudModel, Span
from governor.tier_catalogue import Zone, catalogue, the_catalogue

TIER_NAME = r"[a-z0-9_]+/[A-Za-z0-9._:-]+"
# Fields of the form that hold an allowance: unit and span of each.
LIMITS = {
    f"{unit}_per_{span.value}": (unit, span)
    for unit in ("requests", "tokens")
    for span in (Span.MINUTE, Span.DAY, Span.MONTH)
}
# Fields of the form -> those of the tier.
SAME = ("calls", "api_base", "context_tokens", "most_output_tokens", "parameters_billion", "trains", "free", "zone")
OTHER_NAMES = {"input_usd_per_million": "input_usd", "output_usd_per_million": "output_usd"}
NEEDED_OF_A_NEW_TIER = ("calls", "context_tokens", "parameters_billion")
# What stands in the place of variables of the environment for a provider that the catalogue does not know.
OWN_VARIABLES = ("API_KEY", "ACCOUNT_ID")
# A field that Prefect adds to every document.
DISPATCH_KEY = "block_type_slug"


def _limit(text: str) -> Any:
    return Field(default=None, ge=0, description=f"{text}. 0: without such a limit. Empty: as in the catalogue.")


class CloudTier(Block):
    """Lets agents use one model in the cloud, as far as their privacy and its allowances go.

    Name a tier of the catalogue (`hotdesk tiers` lists them) and give its key; everything else is known then, and what
    is filled in here counts instead. A tier that the catalogue does not have, such as a server of your own that speaks
    OpenAI's protocol, needs `calls`, `context_tokens` and `parameters_billion` too. At an address of its own, or of
    another provider, a tier counts as one that may train. There, and with another model in `calls`, it counts as one
    that costs money, at a price that nobody knows. What you say goes before all of that.
    """

    # An error of a form may show what was typed, and that may be a key.
    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name: ClassVar[str | None] = "Cloud Tier"
    _block_type_slug: ClassVar[str | None] = "cloud-tier"
    _description: ClassVar[str | None] = "The key to a model in the cloud, and how much of it agents may use."

    tier: str = Field(
        pattern=f"^{TIER_NAME}$",
        description="A tier of the catalogue such as groq/gpt-oss-120b, or provider/model for one of your own.",
    )
    api_key: SecretStr | None = Field(
        default=None, description="Its key. Empty: the variables of the environment that the catalogue names."
    )
    account_id: SecretStr | None = Field(default=None, description="Cloudflare: the account that the key belongs to.")
    enabled: bool = Field(default=True, description="Off: no agent uses this tier, wherever its key is.")
    trains: Literal["yes", "no", "unknown"] | None = Field(
        default=None, description="Whether it trains on prompts; unknown counts as yes. Empty: as in the catalogue."
    )
    free: bool | None = Field(
        default=None,
        description="On: within its allowances it costs you nothing. Off: it goes through the router's ceiling. "
        "Empty: as `hotdesk tiers` says of it without this block.",
    )
    requests_per_minute: int | None = _limit("Requests a minute")
    requests_per_day: int | None = _limit("Requests a day")
    requests_per_month: int | None = _limit("Requests a month")
    tokens_per_minute: int | None = _limit("Tokens a minute, in and out")
    tokens_per_day: int | None = _limit("Tokens a day, in and out")
    tokens_per_month: int | None = _limit("Tokens a month, in and out")
    zone: Zone | None = Field(default=None, description="Time zone in which its days begin, such as America/New_York.")
    input_usd_per_million: float | None = Field(default=None, ge=0, description="Price of a million tokens read.")
    output_usd_per_million: float | None = Field(default=None, ge=0, description="Price of a million tokens written.")
    calls: str | None = Field(default=None, description="The model as litellm names it, such as openai/qwen3-32b.")
    api_base: str | None = Field(default=None, description="Its address, when it is not the provider's own.")
    context_tokens: int | None = Field(default=None, ge=256, description="The longest that it reads and writes.")
    most_output_tokens: int | None = Field(default=None, ge=1, description="The longest that it writes.")
    parameters_billion: float | None = Field(default=None, gt=0, description="How large it is.")

    def account(self, environ: Mapping[str, str] | None = None) -> CloudAccount:
        """The tier and its key, ready to be called.

        Args:
            environ: where variables are looked up when there is no key here; the process's own when None.

        Raises:
            BadInput: no such tier and not enough said for a new one, a value that no tier can have, or no key.
        """
        model = self.model()
        return CloudAccount(model, self._secrets(model, os.environ if environ is None else environ), self.origin)

    def model(self) -> CloudModel:
        """What the router knows of the tier: the catalogue's word, and the document's where it has one.

        Raises:
            BadInput: no such tier and not enough said for a new one, or a value that no tier can have.
        """
        known = catalogue().get(self.tier)
        said = {name: getattr(self, name) for name in SAME} | {OTHER_NAMES[n]: getattr(self, n) for n in OTHER_NAMES}
        said = {name: value for name, value in said.items() if value is not None}
        try:
            self._check_fields()
            base = known.model_dump() if known else self._new()
            if self._is_elsewhere():
                base |= {"trains": "unknown"}
            if self._is_another(base):
                base |= {"free": False, "input_usd": None, "output_usd": None}
            return CloudModel.model_validate({**base, **said, "allowances": self._allowances(base)})
        except ValidationError as error:
            raise self._wrong(problems(error)) from error

    @property
    def origin(self) -> str:
        """The document, as people find it in the UI."""
        return f"block: {self._block_document_name or 'not saved'}"

    def _check_fields(self) -> None:
        """Prefect's blocks take fields that they do not have; a limit or a word on training would be lost so."""
        unknown = sorted(set(self.model_extra or {}) - {DISPATCH_KEY})
        if unknown:
            raise self._wrong(f"it has no field {', '.join(unknown)}")

    def _is_elsewhere(self) -> bool:
        """Whether words go to somebody else than the catalogue speaks of: its word is not about them then."""
        provider = the_catalogue().providers.get(self.tier.partition("/")[0])
        address = (provider and provider.api_base) or ""
        if self.api_base is not None and self.api_base.rstrip("/") != address.rstrip("/"):
            return True
        theirs = {model.calls.partition("/")[0] for model in provider.models.values()} if provider else set[str]()
        return self.calls is not None and self.calls.partition("/")[0] not in theirs

    def _is_another(self, known: dict[str, Any]) -> bool:
        """Whether it is not the model that the catalogue prices: nobody knows what it costs, so it is not free."""
        return self._is_elsewhere() or (self.calls or known.get("calls")) != known.get("calls")

    def _new(self) -> dict[str, Any]:
        """The beginning of a tier that the catalogue does not have. What is free is for the operator to say."""
        missing = [name for name in NEEDED_OF_A_NEW_TIER if getattr(self, name) is None]
        if missing:
            raise self._wrong(f"the catalogue has no such tier, and a new one needs {', '.join(missing)} too")
        provider = the_catalogue().providers.get(self.tier.partition("/")[0])
        if provider is None:
            return {"name": self.tier, "key_variables": OWN_VARIABLES[: 1 + _is_said(self.account_id)]}
        return {
            "name": self.tier,
            "key_variables": provider.keys,
            "api_base": provider.api_base,
            "trains": provider.trains,
            "zone": provider.zone,
            "allowances": provider.shared_allowances(),
        }

    def _allowances(self, base: dict[str, Any]) -> list[Allowance]:
        """Those of the catalogue, each replaced or taken away by what the form says of its unit and span."""
        known = [Allowance.model_validate(given) for given in base.get("allowances", ())]
        found = {(allowance.unit, allowance.span): allowance for allowance in known}
        for name, key in LIMITS.items():
            amount = getattr(self, name)
            if amount == 0:
                found.pop(key, None)
            elif amount is not None:
                plain = found.get(key) or Allowance(unit=key[0], span=key[1], amount=amount)
                found[key] = plain.model_copy(update={"amount": amount})
        return list(found.values())

    def _secrets(self, model: CloudModel, environ: Mapping[str, str]) -> tuple[SecretStr, ...]:
        given = [secret for secret in (self.api_key, self.account_id) if secret and _is_said(secret)]
        # A key of the environment is the provider's, and goes to no other address.
        if not given and not self._is_elsewhere() and (found := environment_account(model, environ)):
            return found.secrets
        needed = len(model.key_variables)
        if _is_said(self.account_id) and needed == 1:  # it would stand in the place of the key
            raise self._wrong("it needs api_key and takes no account_id")
        is_own = model.key_variables[:1] == OWN_VARIABLES[:1]  # one's own server may ask for no key
        if len(given) != needed and not (is_own and not given and model.api_base):
            raise self._wrong(f"it needs {' and '.join(_form_names(needed))}")
        return tuple(SecretStr(secret.get_secret_value().strip()) for secret in given)

    def _wrong(self, why: str) -> BadInput:
        return BadInput(
            f"The document of the cloud tier {self.tier} cannot be used: {why}.",
            means="No agent uses that tier; all others are as they were.",
            remedy="Correct it in the Prefect UI under Blocks; `hotdesk tiers` lists the tiers of the catalogue.",
            tier=self.tier,
            why=why,
        )


def problems(error: ValidationError) -> str:
    """What is wrong, field by field, without what was typed."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in found)


def _is_said(secret: SecretStr | None) -> bool:
    return secret is not None and bool(secret.get_secret_value().strip())


def _form_names(count: int) -> tuple[str, ...]:
    return ("api_key", "account_id")[:count]
