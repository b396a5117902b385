"""``patchbay serve``: the service, in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import options
from patchbay.console import emit, say


@click.command(short_help="Serve a patched model over HTTP.")
@click.argument("uri")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto takes CUDA where there is a device.",
)
@options.threads
@options.home
@options.as_json
def serve(
    uri: str,
    host: str,
    port: int,
    device: str,
    threads: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """Serve the patched model URI over HTTP until Ctrl-C.

    With --json, one JSON value is printed when the service is ready.
    """
    from registry.naming import parse_address
    from serving.launch import running_service
    from serving.settings import Settings

    parse_address(uri)  # a typing error is told before the service takes its seconds to start
    settings = Settings.model_validate(
        {"model_uri": uri, "home": home, "threads": threads, "device": device}
    )
    with running_service(settings, host=host, port=port) as service:
        if as_json:
            emit({"uri": uri, "url": service.url})
        else:
            say(f"{uri} is served at {service.url}; Ctrl-C stops it")
            say(f"  curl -F image=@IMAGE.png {service.url}/predict")
        code = service.wait()
        raise click.ClickException(
            f"the service ended by itself with exit code {code}; its log ends with\n"
            f"{service.log_tail()}"
        )
