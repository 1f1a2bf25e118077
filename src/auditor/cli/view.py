"""view: the page on loopback."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from auditor.cli.base import AuditPath, app, say


@app.command(epilog="Example: auditor view audit/ --blind --reviewer ann")
def view(
    audit: AuditPath,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Where to listen. Anything but loopback needs --i-know.")] = "127.0.0.1",
    i_know: Annotated[bool, typer.Option("--i-know", help="Let others on the network reach the page.")] = False,  # noqa: FBT002  # a flag
    blind: Annotated[bool, typer.Option("--blind", help="Hide detectors, verdicts, evidence and models.")] = False,  # noqa: FBT002  # a flag
    reviewer: Annotated[str | None, typer.Option(metavar="NAME", help="Whose labels. Default: your login name.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,  # noqa: FBT002  # a flag
) -> None:
    """Read and label episodes in the browser: a page on 127.0.0.1, for you alone."""
    from auditor.store import Audit
    from auditor.viewer.app import Options, serve
    from auditor.viewer.safe import is_loopback

    if not is_loopback(host):
        if not i_know:
            raise typer.BadParameter(
                f"{host} is not loopback: whoever can reach this port and has the address reads every transcript; add --i-know if you mean that",
                param_hint="--host",
            )
        say(
            f"auditor view: {host} is open to the network. The address below is the only lock, and it travels unencrypted: whoever has"
            " it, or listens on the way, reads every transcript and can label. An ssh tunnel to 127.0.0.1 does without this."
        )
    serve(Audit.open(audit), Options(host, port, blind, (reviewer or "").strip()[:80] or _login(), not no_browser), say)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "reviewer"
