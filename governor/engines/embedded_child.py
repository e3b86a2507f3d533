"""The process of one embedded model: llama.cpp behind HTTP on the loopback address, until SIGTERM.

Imports only the standard library and xllamacpp, because its start is on the way to a first token.
Its arguments (model, context of one request, engine slots) are for who looks at the list of processes.
The talk with `governor.engines.embedded`, over the pipes it was started with:

    parent: one JSON line of settings (the API key must stand on no command line)
    child:  one JSON line with its address, once it serves
    parent: `keep`, once it found the child well; from then on the child needs nobody

A parent that dies before that leaves no orphan. While C++ loads, Python cannot see that the pipe ended, so on
Linux the kernel ends the child with its parent; elsewhere it loads to the end first, or the alarm rings.
"""

import json
import os
import signal
import sys
from importlib import import_module
from typing import Any

KEEP = "keep"
# Of <linux/prctl.h>: the signal that the kernel sends when the parent's thread that started us ends; 0 is none.
PR_SET_PDEATHSIG = 1
NO_SIGNAL = 0
# Beside one for each engine slot: for health, slots, and a client that hangs up late.
SPARE_HTTP_THREADS = 3
ORPHANED = 3


def main() -> None:
    """Load, serve, and wait for a signal."""
    # The default action, without Python in between: it works while C++ holds the interpreter lock (all
    # through a load) and does not wait for what is being generated. The kernel frees the memory.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    on_death_of_parent(signal.SIGKILL)
    as_any_for_memory(os.getpid())
    answer_to = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints goes to the log
    first_line = sys.stdin.readline()
    if not first_line:
        os._exit(ORPHANED)
    settings = json.loads(first_line)
    if os.getppid() != settings["parent_pid"]:  # it died before the kernel was asked to tell
        os._exit(ORPHANED)
    # SIGALRM ends the process, also in the middle of a load: the bound that the parent has set.
    signal.alarm(settings["bound_seconds"])
    server = start(settings)
    # From here on the pipe tells. The parent's thread may end right after its `keep`, before that is read.
    on_death_of_parent(NO_SIGNAL)
    hand_over(answer_to, server.listening_address)
    while True:
        signal.pause()


def on_death_of_parent(sign: int) -> None:
    """Have the kernel send `sign` to this process when its parent ends (prctl(2)); only Linux can, elsewhere nothing.

    It counts the thread that started this process: the one in `EmbeddedEngine.load`, which waits for the load.
    """
    if sys.platform != "linux":
        return
    try:
        ctypes: Any = import_module("ctypes")  # 2-3 ms (measured), and some Pythons are built without it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(sign))
    except (ImportError, OSError, AttributeError):
        return  # the pipe and the alarm are left


def as_any_for_memory(pid: int) -> None:
    """When memory runs out: the run that starts an engine goes before others, the engine serves them all.

    An engine inherits the run's oom_score_adj (proc(5)); 0 is any process.
    """
    try:
        with open(f"/proc/{pid}/oom_score_adj", "r+") as file:  # noqa: PTH123 (pathlib would be one more import)
            if int(file.read()) > 0:
                file.seek(0)
                file.write("0")
    except (OSError, ValueError):
        return  # no Linux, or no right to lower it


def start(settings: dict[str, Any]) -> Any:
    """The running server; it raises RuntimeError when the model cannot be loaded (the log says why)."""
    xllamacpp: Any = import_module("xllamacpp")  # a compiled module: its names are unknown to a type checker
    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings["path"]
    parameters.model_alias = {settings["model"]}
    # llama.cpp counts the context of all its slots together and gives each an equal part.
    parameters.n_ctx = settings["context_tokens"] * settings["engine_slots"]
    parameters.n_parallel = settings["engine_slots"]
    kept_as = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{settings['cache_type'].upper()}")
    parameters.cache_type_k = parameters.cache_type_v = kept_as
    parameters.n_gpu_layers = settings["gpu_layers"]
    # On by default it moves layers to the CPU when they do not fit: 16 times slower, and silent.
    parameters.fit_params = False
    # Without this a 7B Q4_0 takes 8.0 GB and 18 s to load, with it 4.3 GB and 2.9 s (measured).
    parameters.no_extra_bufts = True
    # By default old prompts stay in up to 8 GiB of memory that nobody admitted.
    parameters.cache_ram_mib = 0
    for cpu in (parameters.cpuparams, parameters.cpuparams_batch):
        cpu.n_threads = settings["threads"]
    parameters.n_threads_http = SPARE_HTTP_THREADS + settings["engine_slots"]
    if settings["embeds"]:
        parameters.embedding = True
        # A text is read at once or not at all, unlike a prompt, which is read in pieces of 512 tokens.
        parameters.n_batch = parameters.n_ubatch = settings["context_tokens"]
        if not settings["own_pooling"]:  # a vector for each token otherwise, which the route refuses
            parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    _close_to_strangers(parameters, settings["api_key"])
    return xllamacpp.Server(parameters)


def _close_to_strangers(parameters: Any, api_key: str) -> None:
    """Loopback, any free port, no web page, no other origin, nothing but /health without the key."""
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [api_key]
    parameters.ui = False
    parameters.cors_origins = "http://127.0.0.1"
    parameters.cors_credentials = False
    parameters.endpoint_slots = True
    parameters.endpoint_metrics = True


def hand_over(answer_to: int, address: str) -> None:
    """Tell the parent the address and wait until it takes over; without it, end."""
    try:
        os.write(answer_to, json.dumps({"address": address}).encode() + b"\n")
        kept = sys.stdin.readline().strip() == KEEP
    except OSError:  # the parent is gone and its pipe with it
        kept = False
    if not kept:
        os._exit(ORPHANED)
    signal.alarm(0)
    os.close(answer_to)
    with open(os.devnull) as nothing:  # noqa: PTH123 (pathlib would be one more import)
        os.dup2(nothing.fileno(), sys.stdin.fileno())


if __name__ == "__main__":
    main()
