"""What worker and fork server say to each other: one JSON object a packet, with descriptors beside it.

Both ends are on one machine and start together, so there is no version to agree on. A packet comes whole or not
at all (SOCK_SEQPACKET).
"""

import errno
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

# An environment with a run's settings is 5 to 15 KB; the kernel takes 208 KiB a packet. What is longer would come cut
# off, and a reader that cannot read its packets takes the other end for gone.
MOST_BYTES = 200 * 1024
MOST_DESCRIPTORS = 4


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(link: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """One packet.

    Raises:
        BlockingIOError: there is no room for it yet, and the link does not block.
        OSError: EMSGSIZE, it is longer than MOST_BYTES; else the other end is gone.
    """
    packet = json.dumps(message).encode()
    if len(packet) > MOST_BYTES:
        raise OSError(errno.EMSGSIZE, f"{len(packet) // 1024} KiB in one packet, where {MOST_BYTES // 1024} go through")
    socket.send_fds(link, [packet], list(descriptors))


def receive(link: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next packet and its descriptors, None once the other end is gone.

    Raises:
        BlockingIOError: there is none yet, and the link does not block.
    """
    try:
        packet, descriptors, _, _ = socket.recv_fds(link, MOST_BYTES, MOST_DESCRIPTORS)
    except ConnectionError:
        return None
    if not packet:
        return None
    try:
        return json.loads(packet), descriptors
    except ValueError:  # cut off: the other end is not one of ours
        for descriptor in descriptors:
            os.close(descriptor)
        return None
