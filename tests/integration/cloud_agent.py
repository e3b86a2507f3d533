"""An agent's process for the tests of cloud tiers: does one job for each line of JSON it is told, and tells what came.

Before anything is imported it begins to note whom the process connects to and whose name it looks up.
"""

import sys

CONTACTS: list[str] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        CONTACTS.append(f"{arguments[1][0]}:{arguments[1][1]}")
    elif event == "socket.getaddrinfo" and isinstance(arguments[0], str):
        CONTACTS.append(f"{arguments[0]}:{arguments[1]}")


if __name__ == "__main__":
    sys.addaudithook(_note)

import asyncio  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

from pydantic import SecretStr  # noqa: E402

from governor import call_loop, cloud, inference, routers  # noqa: E402
from governor.accounts import CloudAccount  # noqa: E402
from governor.call_wire import WIRE, Wire  # noqa: E402
from governor.policy.requests import CloudModel, ModelRequest, Privacy  # noqa: E402


def ask(job: dict[str, Any]) -> str:
    terms = cloud.Terms(agent="test", deadline_seconds=20)
    return cloud.ask_cloud(request(job), account(job), terms=terms).text


def around_the_ledger(job: dict[str, Any]) -> str:
    return inference.complete_in_cloud(request(job), account(job), deadline_seconds=5).text


def with_a_forged_account(job: dict[str, Any]) -> str:
    return around_the_ledger({**job, "tier": {**job["tier"], "trains": "no"}})


def after_public_work(job: dict[str, Any]) -> str:
    """The Router of public work is there, and knows the tier."""
    inference.warm_up([account(job)])
    return ask(job)


def synchronously(job: dict[str, Any]) -> str:
    litellm, tier = inference._litellm(), job["tier"]
    messages = [{"role": "user", "content": job["prompt"]}]
    return str(litellm.completion(model=tier["calls"], api_base=tier["api_base"], api_key="k", messages=messages))


def synchronously_by_the_router(job: dict[str, Any]) -> str:
    router = routers.cloud_router(inference._litellm(), Privacy.PUBLIC, [account(job)])
    return str(router.completion(model=job["tier"]["name"], messages=[{"role": "user", "content": job["prompt"]}]))


def past_every_router(job: dict[str, Any]) -> str:
    litellm, tier = inference._litellm(), job["tier"]
    messages = [{"role": "user", "content": job["prompt"]}]
    asked = litellm.acompletion(model=tier["calls"], api_base=tier["api_base"], api_key="k", messages=messages)
    return str(asyncio.run(asked))


def locally(job: dict[str, Any]) -> str:
    """Of an engine that fails, while litellm is told to fall back on the cloud."""
    inference.warm_up([account(job)])
    litellm = inference._litellm()
    litellm.default_fallbacks = [job["tier"]["name"]]
    litellm.fallbacks = [{routers.LOCAL: [job["tier"]["name"]]}]
    parameters = {"model": "openai/engine", "api_base": job["engine"], "api_key": "k"}
    return inference.complete(request(job), parameters, deadline_seconds=5).text


def locally_with_a_call_of_its_own(job: dict[str, Any]) -> str:
    """A local call's task asks the Router of the cloud: its way out leads to the engine alone."""
    router = routers.cloud_router(inference._litellm(), Privacy.PUBLIC, [account(job)])

    async def stray() -> Any:
        WIRE.set(Wire(("http", "127.0.0.1", 9), 10**6))
        messages = [{"role": "user", "content": job["prompt"]}]
        return await router.acompletion(model=job["tier"]["name"], messages=messages, stream=True)

    return str(call_loop.run(stray(), 5, lambda: False))


WAYS: tuple[Callable[[dict[str, Any]], str], ...] = (
    ask,
    around_the_ledger,
    with_a_forged_account,
    after_public_work,
    synchronously,
    synchronously_by_the_router,
    past_every_router,
    locally,
    locally_with_a_call_of_its_own,
)


def account(job: dict[str, Any]) -> CloudAccount:
    return CloudAccount(CloudModel.model_validate(job["tier"]), (SecretStr("k"),))


def request(job: dict[str, Any]) -> ModelRequest:
    asked = {"kind": "write", "prompt": job["prompt"], "privacy": job["privacy"], "max_tokens": 32}
    return ModelRequest.model_validate(asked)


def main() -> None:
    """Until there are no more lines."""
    inference.warm_up()
    ways = {way.__name__: way for way in WAYS}
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        heard: dict[str, Any] = {"contacts": CONTACTS}
        with contextlib.redirect_stdout(sys.stderr):
            try:
                heard["text"] = ways[job["way"]](job)
            except Exception as error:
                heard["error"], heard["said"] = type(error).__name__, str(error)
        print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    main()
