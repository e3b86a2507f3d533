"""The process of one embedded model: llama.cpp behind HTTP on the loopback address, until SIGTERM.

Reads one JSON line of settings from stdin (the API key must not stand on a command line), writes one
JSON line with its address to stdout once it serves. Imports only the standard library and xllamacpp,
because its start is on the way to every first token.
"""

import json
import os
import signal
import sys
from importlib import import_module
from typing import Any


def serve(settings: dict[str, Any]) -> None:
    """Load the model and serve it. Ends itself when nobody is left to read its address."""
    xllamacpp: Any = import_module("xllamacpp")  # an extension without type stubs
    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings["path"]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = settings["context_tokens"]
    parameters.n_parallel = 1
    parameters.n_gpu_layers = settings["gpu_layers"]
    # Moving layers to the CPU behind our back is 16 times slower and says nothing: fit or fail.
    parameters.fit_params = False
    # Without this a 7B Q4_0 takes 8.0 GB and 18 s to load, with it 4.3 GB and 2.9 s (measured).
    parameters.no_extra_bufts = True
    parameters.cpuparams.n_threads = settings["threads"]
    parameters.cpuparams_batch.n_threads = settings["threads"]
    parameters.api_keys = [settings["api_key"]]
    parameters.model_alias = {settings["model"]}
    parameters.endpoint_slots = True
    parameters.endpoint_metrics = True
    parameters.ui = False
    server = xllamacpp.Server(parameters)
    try:
        print(json.dumps({"address": server.listening_address}), flush=True)
        os.close(sys.stdout.fileno())
    except OSError:
        os._exit(1)
    while True:
        signal.pause()


def main() -> None:
    """Entry point of the child."""
    # llama.cpp's own shutdown waits for what is being generated; the kernel frees the memory at once.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(json.loads(sys.stdin.readline()))


if __name__ == "__main__":
    main()
