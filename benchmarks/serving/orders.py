"""What the load generator is told, and what it tells: one JSON object a line each."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_REQUESTS = 1_000_000
"""Of one window: what is remembered of each takes 24 bytes here, and some more as JSON."""

Seconds = Annotated[float, Field(gt=0, le=600)]


class _Message(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )


class Exchange(_Message):
    """A body, and what the answer may say: one of these, as the target's reader tells it."""

    body: bytes
    labels: Annotated[tuple[str, ...], Field(min_length=1)]


class Target(_Message):
    """Where requests go and what they are.

    Attributes:
        host: an address, not a name.
        port: of the service.
        path: with the query.
        headers: besides Host and Content-Length.
        exchanges: sent in turn.
        reader: how an answer is read, of `benchmarks.serving.answers`.
    """

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    path: str
    headers: dict[str, str]
    exchanges: Annotated[tuple[Exchange, ...], Field(min_length=1)]
    reader: str


class ClosedLoop(_Message):
    """So many clients, each of which asks again as soon as it has its answer."""

    kind: Literal["closed"] = "closed"
    clients: Annotated[int, Field(ge=1, le=1024)]


class OpenLoop(_Message):
    """Requests at times that are fixed beforehand, however long answers take.

    Attributes:
        arrivals: how the times are spread, as `benchmarks.serving.arrivals.send_times`.
        rate: requests a second.
        connections: requests under way at once; one whose time has come waits for a free one,
            and that is part of its latency.
        seed: of the times.
    """

    kind: Literal["open"] = "open"
    arrivals: Literal["steady", "poisson", "bursts"]
    rate: Annotated[float, Field(gt=0, le=100_000)]
    connections: Annotated[int, Field(ge=1, le=1024)] = 256
    seed: Annotated[int, Field(ge=0)] = 0


class Order(_Message):
    """A window of load.

    Attributes:
        target: what is asked.
        loop: how.
        warm_up_seconds: before the window: the same load, not remembered.
        seconds: of the window.
        grace_seconds: how long the answers to what has been sent are waited for after it.
    """

    target: Target
    loop: Annotated[ClosedLoop | OpenLoop, Field(discriminator="kind")]
    warm_up_seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    seconds: Seconds
    grace_seconds: Seconds = 15.0

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if isinstance(self.loop, OpenLoop):
            requests = self.loop.rate * (self.warm_up_seconds + self.seconds)
            if requests > MOST_REQUESTS:
                raise ValueError(f"at most {MOST_REQUESTS:,} requests, these are {requests:,.0f}")
        return self


class Answered(_Message):
    """The answers of one kind, in the order in which they came.

    Attributes:
        sent_s: when each was sent, or should have been in an open loop, in seconds from the
            window's start; in a closed loop below 0 for those sent before it.
        latency_ms: from that moment to having the whole answer.
        answer_ms: from when it was really sent: what the server took, without the wait for a
            connection; in a closed loop the same.
    """

    sent_s: tuple[float, ...]
    latency_ms: tuple[float, ...]
    answer_ms: tuple[float, ...]


class Window(_Message):
    """What came of an order.

    Attributes:
        seconds: how long the window was.
        answered: by kind of answer, "ok" among them: in a closed loop what was answered in the
            window, in an open loop what should have been sent in it.
        examples: for each kind that is a failure, how the first such answer began.
        unanswered: requests of which nothing was heard by the end of the grace.
        unsent: of an open loop, those for which no connection was free until the window's end.
        asked: requests sent in all, warm-up included.
        late_ms: of an open loop, the 99 % quantile of how much later than intended a request
            was sent though a connection was free: the generator's own fault.
        cpu_share: of one core, what the generator itself used in warm-up and window.
    """

    seconds: float
    answered: dict[str, Answered]
    examples: dict[str, str]
    unanswered: int
    unsent: int
    asked: int
    late_ms: float | None
    cpu_share: float
