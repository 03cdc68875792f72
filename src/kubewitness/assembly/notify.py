"""Tell systemd how the service is: the datagrams of sd_notify(3), without its library."""

import os
import socket


def notify(state: str) -> bool:
    """Send `READY=1`, `STOPPING=1`, `STATUS=...`; False where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.sendall(state.encode())
        except OSError:
            return False
    return True
