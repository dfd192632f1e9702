"""`akazuba serve`: the tablet's page and the doors for other systems."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import click

from akazuba.cli.shared import errors_shown, show
from akazuba.errors import InputError, why_not_opened


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 is a free one."
)
@click.option("--tls", is_flag=True, help="HTTPS under the clinic's own authority, made at the first start.")
@click.option("--name", "names", multiple=True, help="With --tls: a name by which tablets call the box.")
@click.option(
    "--plain", is_flag=True, help="Serve other machines without HTTPS: PINs cross the air readable."
)
def serve(host: str, port: int, tls: bool, names: tuple[str, ...], plain: bool) -> None:
    """Serve the tablet's page and the REST, FHIR and CDS Hooks doors until it is stopped.

    Other machines are served by HTTPS (--tls). A locked box (its passphrase is typed in the page) assesses
    and seals what is entered; a box without a store (`akazuba store init`) keeps nothing.

    Example: akazuba serve --host 0.0.0.0 --port 8443 --tls --name akazuba.local
    """
    with errors_shown():
        if not (tls or plain or _is_loopback(host)):
            raise InputError("--host", "--tls to serve other machines", f"{host} without it")
        from akazuba.settings import from_environ
        from akazuba.web.clinic_ca import certificates
        from akazuba.web.post import Post
        from akazuba.web.serving import lean, run

        lean()
        settings = from_environ()
        listening = _listening(host, port)
        hosts = (*names, host, "localhost") if host not in ("0.0.0.0", "::") else (*names, *_addresses())  # noqa: S104 - asked for
        made = certificates(settings.home, hosts) if tls else None
        post = Post(settings)
    scheme, taken = "https" if tls else "http", listening.getsockname()[1]
    show(f"{scheme}://{names[0] if names else host}:{taken}/")
    if made:
        show(f"the clinic's authority, for the tablets to take in: {made.authority}")
    try:
        run(post, listening, made, [f"{scheme}://{name}:{taken}" for name in dict.fromkeys(hosts)])
    finally:
        post.close()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _addresses() -> tuple[str, ...]:
    """Under which this machine is called on its networks."""
    name = socket.gethostname()
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, None, socket.AF_INET)}
    except OSError:
        found = set()
    return (f"{name}.local", *sorted(found | {"127.0.0.1"}), "localhost")


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as problem:
        raise InputError("--port", "a free port", f"{port} ({why_not_opened(problem)})") from problem
