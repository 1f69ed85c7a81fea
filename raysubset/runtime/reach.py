"""Whether something answers at the address of a Ray instance, known in seconds: Ray itself tries for minutes."""

from __future__ import annotations

import socket

PROBE_S = 5.0


def probe(address: str) -> None:
    """Open a TCP connection to ``host:port`` and close it.

    Raises:
        OSError: Nobody answers within `PROBE_S`.
        ValueError: It is no ``host:port``.
    """
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=PROBE_S).close()
