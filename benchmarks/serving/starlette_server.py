"""The model behind a plain Starlette application: what one would write by hand in an hour.

``python -m benchmarks.serving.starlette_server PORT ARCHIVE``. The network runs in the event loop:
there is one core, and handing each image to a thread and back made it a tenth slower. It knows no
batches, limits, deadlines, metrics or reload, and says nothing of use about a body that is no
image.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.serving.plain_model import PlainModel


def application(model: PlainModel) -> Starlette:
    """``POST /predict`` with an image as the body, and ``GET /health``.

    Args:
        model: that answers.
    """

    async def predict(request: Request) -> Response:
        inputs = model.prepared(await request.body())
        return JSONResponse({"predictions": model.answers(inputs)})

    async def health(_: Request) -> Response:
        return Response()

    routes = [Route("/predict", predict, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes)


def main(port: int, archive: Path) -> None:
    """Answer on 127.0.0.1 until the process is ended."""
    torch.set_num_threads(1)
    uvicorn.run(
        application(PlainModel(archive)),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
