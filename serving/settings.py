"""What a service can be told through its environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from serving.errors import SettingsError

PREFIX = "PATCHBAY_"

Count = Annotated[int, Field(ge=1)]
Secret = Annotated[SecretStr, Field(min_length=8, max_length=500)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class Settings(BaseModel):
    """One service's settings; each is read from ``PATCHBAY_`` and its name in capitals.

    Attributes:
        model_uri: which registered patched model to serve, such as ``models:/name@champion``.
        archive: a file of ``patchbay export`` to serve instead, without a registry.
        home: where the embedded registry lives, for the registry to read; its default if None.
        device: where the networks run; ``auto`` takes CUDA where there is a device.
        precision: of the networks' arithmetic; ``tf32`` is a GPU's, faster and of 10 bits.
        threads: threads that one operation of a network may use.
        decode_threads: images decoded at the same time.
        batch_size: images that go through the networks at once, of one or several requests.
        batch_wait_ms: how long a batch that is not full waits for more; 0 is not at all.
        queue_images: images let in at a time, of all requests together; past it, requests are
            refused, but for one that is alone.
        queue_bytes: of the bodies of all requests together, the same.
        deadline_seconds: how long an answer may take, from the request's first byte; a request
            can ask for less.
        poll_seconds: how often to look whether the address stands for another version; 0 looks
            only when asked to.
        memory_bytes: of the parameters of all networks in memory, in use or not.
        admin_token: who bears it may bring models in and out; without one, this machine alone.
        webhook_secret: what MLflow signs its messages with; without one there is no webhook.
        log_level: the lowest that the service's log has; ``debug`` has a line for each request.
        max_body_bytes: of one request.
        max_images: of one request.
        max_pixels: of one image, before it is decoded.
        max_request_pixels: of all images of a request together.
        body_seconds: how long a body may take to arrive.
        samples: a folder of images to try the service with on its page; none if None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_uri: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    archive: Path | None = None
    home: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "tf32"] = "float32"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    decode_threads: Annotated[int, Field(ge=1, le=64)] = 2
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 64
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.0
    queue_images: Count = 256
    queue_bytes: Count = 256 * 1024 * 1024
    deadline_seconds: Seconds = 30.0
    poll_seconds: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = 10.0
    memory_bytes: Count = 4 * 2**30
    admin_token: Secret | None = None
    webhook_secret: Secret | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_body_bytes: Count = 32 * 1024 * 1024
    max_images: Count = 1000
    max_pixels: Count = 16 * 1024 * 1024
    max_request_pixels: Count = 64 * 1024 * 1024
    body_seconds: Seconds = 30.0
    samples: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings that these variables hold; what is unset or empty keeps its default.

        Args:
            environment: such as ``os.environ``.

        Raises:
            SettingsError: if a value can't be used; names the variable and what it takes. Or if
                both an address and an archive are to be served.
        """
        given = {name: environment.get(PREFIX + name.upper(), "") for name in cls.model_fields}
        values = {name: value.strip() for name, value in given.items() if value.strip()}
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(
                f"{PREFIX}{_told(problem['loc'][0], problem['input'])}: {problem['msg']}"
                for problem in error.errors()
            )
            raise SettingsError(f"can't use {problems}") from error
        if settings.model_uri is not None and settings.archive is not None:
            raise SettingsError(
                f"{PREFIX}MODEL_URI={settings.model_uri!r} names a model in the registry, "
                f"{PREFIX}ARCHIVE={str(settings.archive)!r} another in a file; set one of them"
            )
        return settings


def _told(name: object, value: object) -> str:
    """A variable and its value, if that is no secret."""
    is_secret = name in ("admin_token", "webhook_secret")
    return f"{str(name).upper()}={'...' if is_secret else repr(value)}"
