"""Plain device memory through the driver's own API (libcuda.so.1 by ctypes): no toolkit, no framework.

Never managed memory: a program that asks for more of it than the card has can hang the card.
"""

import ctypes

MIB = 1024 * 1024


class Cuda:
    """One context on the first card. RuntimeError when there is none."""

    def __init__(self) -> None:
        try:
            self._driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise RuntimeError(f"there is no NVIDIA driver: {error}") from error
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._must("cuInit", ctypes.c_uint(0))
        self._must("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._must("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._must("cuCtxSetCurrent", context)

    def take(self, mib: int) -> int | None:
        """Address of so much memory; None when the driver refuses."""
        address = ctypes.c_uint64()
        refused = self._driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(mib * MIB))
        return None if refused else address.value

    def give(self, handle: int) -> None:
        """Back to the driver."""
        self._must("cuMemFree_v2", ctypes.c_uint64(handle))

    def _must(self, name: str, *arguments: object) -> None:
        code = getattr(self._driver, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} answered {code}")
