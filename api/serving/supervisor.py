"""Telling systemd, where it started us, that the server listens (sd_notify(3)): `systemctl start` waits for that."""

import contextlib
import os
import socket


def tell_that_it_listens() -> None:
    """Says so on the socket that NOTIFY_SOCKET names; without one nobody asked."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A name that begins with @ is one of Linux's that is no file.
    place = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(b"READY=1", place)
