"""The GPU benchmark's reading of llama-server's log: what it counts must be what happened."""

from pathlib import Path

from tests.benchmarks.gpu_faults import EngineLog

TOLD = """0.07.806.537 I srv        unload: stopping model instance name=one
0.07.864.896 I srv           run: instance name=one exited with status 1
"""
DIED = "0.09.864.896 I srv           run: instance name=one exited with status 1\n"
NO_MEMORY = (
    "[5000] 0.01 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1 MiB: cudaMalloc failed: out of memory\n"
)
ABORT = "[5000] 0.01 E /src/ggml-cuda.cu:98: CUDA error: an illegal memory access was encountered\n"


def test_an_end_that_was_told_is_no_fault_and_the_next_one_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = EngineLog(path)
    log.look()
    path.write_text(TOLD)
    log.look()
    assert log.told_to_end == 1 and log.counts["ended_by_themselves"] == 0
    path.write_text(TOLD + DIED)
    log.look()
    assert log.counts["ended_by_themselves"] == 1 and log.first == [DIED.strip()]


def test_lines_are_counted_once_also_when_they_come_in_halves_or_the_log_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = EngineLog(path)
    for written in (NO_MEMORY[:60], NO_MEMORY, NO_MEMORY + ABORT[:20]):
        path.write_text(written)
        log.look()
    assert log.counts["oom"] == 1 and log.counts["aborts"] == 0
    path.write_text(ABORT)  # emptied, and begun anew
    log.look()
    assert log.counts["oom"] == 1 and log.counts["aborts"] == 1


def test_layers_that_stayed_on_the_cpu_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        "[1] load_tensors: offloaded 33/33 layers to GPU\n[1] load_tensors: offloaded 20/33 layers to GPU\n"
    )
    log = EngineLog(path)
    log.look()
    assert log.loads_on_the_card == 1 and log.counts["layers_on_the_cpu"] == 1
