"""The generator against servers whose answers take a known time."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest
from pydantic import ValidationError

from benchmarks.serving.answers import DISCONNECTED, OK, UNREADABLE, WRONG_LABEL
from benchmarks.serving.generator import LoadError, LoadGenerator
from benchmarks.serving.load import drive
from benchmarks.serving.orders import ClosedLoop, Exchange, Order, Window
from benchmarks.serving.peers import trivial_server
from serving.launch import free_port
from tests.benchmarks.serving.servers import (
    after,
    closed,
    http_answer,
    label_answer,
    serving,
    steady,
    target,
)

pytestmark = pytest.mark.timed


def driven(order: Order) -> Window:
    return asyncio.run(drive(order))


def test_clients_in_turn_get_as_much_as_answers_take() -> None:
    with serving(after(0.02)) as port:
        window = driven(closed(port, clients=4, seconds=1.0, warm_up_seconds=0.2))
    ok = window.answered[OK]
    assert list(window.answered) == [OK]
    assert 50 <= len(ok.latency_ms) <= 200  # 4 clients, 20 ms each: 200 at most
    assert min(ok.latency_ms) >= 19.9
    assert statistics.median(ok.latency_ms) < 60
    assert ok.latency_ms == ok.answer_ms
    assert window.asked > len(ok.latency_ms)  # those of the warm-up
    assert all(sent + ms / 1000 < 1 for sent, ms in zip(ok.sent_s, ok.latency_ms, strict=True))
    assert (window.unanswered, window.unsent, window.late_ms) == (0, 0, None)
    assert 0 < window.cpu_share < 1


def test_requests_on_time_are_as_many_as_the_rate_says() -> None:
    with serving(after(0.02)) as port:
        window = driven(steady(port, rate=100, connections=16, seconds=1.0, warm_up_seconds=0.3))
    ok = window.answered[OK]
    assert len(ok.latency_ms) + window.unsent in (99, 100, 101)
    assert window.asked + window.unsent in (129, 130, 131)
    assert window.unsent < 50  # of a machine that stood still at the end
    assert min(ok.latency_ms) >= 19.9
    assert statistics.median(ok.latency_ms) < 60
    assert window.late_ms is not None
    assert 0 <= window.late_ms < 500


def test_an_answer_that_stalls_is_paid_for_by_all_that_were_due_meanwhile() -> None:
    """Without that, one slow answer would be all that a pause of the server shows."""

    async def stalls_once(number: int) -> bytes:
        await asyncio.sleep(0.5 if number == 20 else 0)
        return label_answer()

    with serving(stalls_once) as port:
        on_time = driven(steady(port, rate=100, connections=1, seconds=1.5))
    with serving(stalls_once) as port:
        in_turn = driven(closed(port, clients=1, seconds=1.5))
    slow = [ms for ms in on_time.answered[OK].latency_ms if ms > 100]
    assert 30 <= len(slow) <= 90  # due in the 0.4 s before the last 100 ms of the stall
    assert max(slow) >= 499
    assert statistics.median(slow) == pytest.approx(300, abs=150)  # they wait less and less
    assert len(on_time.answered[OK].latency_ms) + on_time.unsent == 150
    assert on_time.unsent < 50
    assert sum(ms > 100 for ms in on_time.answered[OK].answer_ms) <= 6  # once sent, they were fast
    assert 1 <= sum(ms > 100 for ms in in_turn.answered[OK].latency_ms) <= 6


def test_what_finds_no_connection_free_in_time_is_counted_as_unsent() -> None:
    with serving(after(0.1)) as port:
        window = driven(steady(port, rate=100, connections=2, seconds=1.0))
    answered = len(window.answered[OK].latency_ms)
    assert 8 <= answered <= 22  # 2 at a time, 10 a second each
    assert answered + window.unsent == 100
    assert window.unanswered == 0
    assert max(window.answered[OK].latency_ms) > 700  # waiting counts


def test_failures_are_told_apart() -> None:
    answers = [
        label_answer(),
        label_answer("dog"),
        http_answer(503, b'{"error": "busy"}'),
        http_answer(500, b""),
        http_answer(200, b"no JSON"),
        http_answer(200, b'{"predictions": []}'),
        http_answer(200, b"[]"),
        b"HTTP/1.1 200 OK\r\n\r\n",
        None,
    ]

    async def respond(number: int) -> bytes | None:
        await asyncio.sleep(0.001)
        return answers[number % len(answers)]

    with serving(respond) as port:
        window = driven(closed(port, clients=1, seconds=1.0))
    counts = {kind: len(found.latency_ms) for kind, found in window.answered.items()}
    assert set(counts) == {OK, WRONG_LABEL, "503", "500", UNREADABLE, DISCONNECTED}
    rounds = counts[OK]
    assert rounds >= 3
    for kind in (WRONG_LABEL, "503", "500", DISCONNECTED):
        assert counts[kind] in (rounds - 1, rounds)
    assert counts[UNREADABLE] in range(4 * (rounds - 1), 4 * rounds + 1)
    assert window.examples["503"] == '{"error": "busy"}'
    assert OK not in window.examples


def test_each_body_is_answered_for_by_its_own_label() -> None:
    async def respond(number: int) -> bytes:
        return label_answer(("cat", "dog")[number % 2])

    for labels, expected in ((("cat", "dog"), OK), (("dog", "cat"), WRONG_LABEL)):
        with serving(respond) as port:
            aimed = target(port, *labels)
            window = driven(Order(target=aimed, loop=ClosedLoop(clients=1), seconds=0.2))
        assert list(window.answered) == [expected]


@pytest.mark.parametrize("kind", ["closed", "open"])
def test_a_server_that_never_answers_does_not_hold_the_generator(kind: str) -> None:
    with serving(after(60)) as port:
        order = (
            closed(port, clients=3, seconds=0.2, grace_seconds=0.3)
            if kind == "closed"
            else steady(port, rate=20, connections=3, seconds=0.2, grace_seconds=0.3)
        )
        began = perf_counter()
        window = driven(order)
    assert perf_counter() - began < 20  # not the minute
    assert window.answered == {}
    assert 1 <= window.unanswered <= 3
    assert window.unsent == 0  # nobody was left to find that the fourth was due


def test_a_server_that_is_not_there_is_not_asked_in_a_rush() -> None:
    window = driven(closed(free_port(), clients=1, seconds=0.3))
    assert list(window.answered) == [DISCONNECTED]
    assert 2 <= window.asked <= 31  # a pause of 10 ms after each
    assert window.examples[DISCONNECTED]


def test_orders_are_bounded() -> None:
    with pytest.raises(ValidationError, match="1,000,000 requests"):
        steady(1, rate=100_000, connections=1, seconds=11)
    with pytest.raises(ValidationError):
        closed(1, clients=2000)
    with pytest.raises(ValidationError):
        closed(1, seconds=float("inf"))


def test_bytes_survive_the_way_to_the_process() -> None:
    exchange = Exchange(body=bytes(range(256)), labels=("é",))
    aimed = target(1).model_copy(update={"exchanges": (exchange,)})
    order = closed(1).model_copy(update={"target": aimed})
    assert Order.model_validate_json(order.model_dump_json()) == order


def test_the_process_carries_out_order_after_order() -> None:
    with serving(after(0.01)) as port, LoadGenerator() as generator:
        first = generator.carry_out(closed(port, seconds=0.2))
        second = generator.carry_out(steady(port, rate=50, connections=4, seconds=0.4))
    assert first.answered[OK].latency_ms
    assert len(second.answered[OK].latency_ms) + second.unsent == 20


def test_a_process_that_ends_is_told_and_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    order = closed(1)
    unknown = order.target.model_copy(update={"port": 70_000})
    with LoadGenerator() as generator, pytest.raises(LoadError, match="exit code 1"):
        generator.carry_out(order.model_copy(update={"target": unknown}))
    assert "less than or equal to 65535" in capfd.readouterr().err


def test_the_command_reads_and_writes_a_line_each() -> None:
    with serving(after(0)) as port:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.serving.load"],
            input=closed(port, seconds=0.1).model_dump_json() + "\n",
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    [line] = done.stdout.splitlines()
    assert json.loads(line)["answered"][OK]["latency_ms"]
    assert done.stderr == ""


def test_the_generator_asks_faster_than_any_service_answers(tmp_path: Path) -> None:
    """A generous bound for a busy machine: an idle one gives over 20,000 a second."""
    with trivial_server("cat", tmp_path, core=None) as peer, LoadGenerator() as load:
        window = load.carry_out(closed(peer.port, clients=8, seconds=1.0))
    assert list(window.answered) == [OK]
    assert len(window.answered[OK].latency_ms) > 3000
