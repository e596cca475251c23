"""Whether a port can be had, and who has it."""

import contextlib
import socket

import psutil


class PortError(Exception):
    """The port can't be had; the message is one line that names the cause and the remedy."""


def check_port(host: str, port: int) -> None:
    """Raises PortError unless this user may listen there now."""
    if not 1 <= port <= 65535:
        raise PortError(f"PORT={port} is no port. Write one from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except PermissionError:
            raise PortError(f"Port {port} needs root. Take another: make up PORT=8000") from None
        except OSError:
            other = port + 1 if port < 65535 else 8000
            raise PortError(
                f"Port {port} is taken{_holder(port)}. Stop what holds it, or take another: "
                f"make up PORT={other}"
            ) from None


def _holder(port: int) -> str:
    """Who listens there, as far as this user may know."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == "LISTEN" and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                name = psutil.Process(connection.pid).name()
                return f" by {name} (process {connection.pid})"
    return ""
