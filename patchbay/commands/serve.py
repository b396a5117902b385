"""``patchbay serve``: the service, in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import options
from patchbay.console import emit, say
from patchbay.session import files_folder, service_settings


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
@click.option(
    "--log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The service's log [default: service.log in the home].",
)
@click.option(
    "--samples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of images to try it with on its page, at most 24 of less than 1 MiB each.",
)
@options.common
def serve(
    uri: str,
    host: str,
    port: int,
    device: str,
    log: Path | None,
    samples: Path | None,
    threads: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """Serve the patched model URI over HTTP until Ctrl-C.

    With --json, one JSON value is printed when the service is ready.
    """
    from registry.naming import parse_address
    from serving.launch import running_service

    parse_address(uri)  # a typing error is told before the service takes its seconds to start
    settings = service_settings(uri, home=home, threads=threads, device=device)
    if samples is not None:
        settings = settings.model_copy(update={"samples": samples})
    log_path = log or files_folder(home) / "service.log"
    try:
        log_path.touch()
    except OSError as error:
        raise click.ClickException(
            f"the log {log_path} can't be written: {error.strerror}; --log names another file"
        ) from error
    with running_service(settings, host=host, port=port, log_path=log_path) as service:
        if as_json:
            emit({"uri": uri, "url": service.url})
        else:
            say(f"{uri} is served at {service.url}, with its log in {log_path}; Ctrl-C stops it")
            say(f"  {service.url}/ is its page")
            say(f"  curl -F image=@IMAGE.png {service.url}/predict")
        code = service.wait()
        raise click.ClickException(
            f"the service ended by itself with exit code {code}; its log ends with\n"
            f"{service.log_tail()}"
        )
