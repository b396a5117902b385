from __future__ import annotations

import io
import json
import pickle
import threading
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from registry.bundles.tensors import _DTYPES, dump_tensors, parse_tensors, require_layout
from registry.errors import BundleError

EXPECTED = {
    "weight": torch.empty(3, 2, device="meta"),
    "count": torch.empty((), dtype=torch.int64, device="meta"),
}
TENSORS = {"weight": torch.arange(6.0).reshape(3, 2), "count": torch.tensor(5)}


def check(raw: bytes, expected: dict[str, Tensor] = EXPECTED) -> None:
    require_layout(io.BytesIO(raw), len(raw), expected)


def file_with(header: object, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + payload


def test_tensors_come_back_as_they_went_in() -> None:
    raw = dump_tensors(TENSORS)
    check(raw)
    found = parse_tensors(raw)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


@given(st.data())
def test_all_that_is_stored_is_read_as_safetensors_reads_it(data: st.DataObject) -> None:
    dtypes = st.sampled_from(list(_DTYPES))
    shapes = st.lists(st.integers(0, 3), max_size=3)
    drawn = data.draw(st.lists(st.tuples(dtypes, shapes), max_size=6))
    generator = torch.Generator().manual_seed(len(drawn))
    raw = dump_tensors(
        {
            f"{place}": torch.randint(0, 2, shape, generator=generator).to(dtype)
            for place, (dtype, shape) in enumerate(drawn)
        }
    )
    found, expected = parse_tensors(raw), safetensors.torch.load(raw)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_read_as_safetensors_reads_it(place: int, change: int) -> None:
    raw = bytearray(dump_tensors(TENSORS | {"none": torch.zeros(0, 3), "is": torch.tensor([True])}))
    raw[place % len(raw)] ^= change
    try:
        found = parse_tensors(bytes(raw))
    except BundleError:
        return
    expected = safetensors.torch.load(bytes(raw))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.slow
@pytest.mark.timed
def test_other_threads_go_on_while_weights_are_read() -> None:
    raw = dump_tensors({str(place): torch.rand(5 * 2**20) for place in range(10)})

    def longest_standstill(work: Callable[[bytes], object]) -> float:
        """Seconds in which another thread that sleeps for a millisecond was not run at most."""
        seen, is_over = [perf_counter()], threading.Event()

        def look() -> None:
            while not is_over.wait(0.001):
                seen.append(perf_counter())

        looking = threading.Thread(target=look)
        looking.start()
        work(raw)
        is_over.set()
        looking.join()
        return max(later - earlier for earlier, later in pairwise([*seen, perf_counter()]))

    ours = min(longest_standstill(parse_tensors) for _ in range(5))
    theirs = min(longest_standstill(safetensors.torch.load) for _ in range(5))
    assert ours < theirs / 2, f"{ours:.3f} s against {theirs:.3f} s"


def test_a_tensor_without_values_is_no_broken_one() -> None:
    (found,) = parse_tensors(dump_tensors({"none": torch.zeros(0, 3)})).values()
    assert found.shape == (0, 3)


def test_what_is_written_depends_on_the_values_alone() -> None:
    turned = {"count": TENSORS["count"], "weight": TENSORS["weight"].t().contiguous().t()}
    assert dump_tensors(turned) == dump_tensors(TENSORS)


def test_what_is_read_is_no_longer_tied_to_the_bytes() -> None:
    found = parse_tensors(dump_tensors(TENSORS))
    found["weight"].add_(1)
    assert torch.equal(found["weight"], TENSORS["weight"] + 1)


def test_a_renamed_tensor_is_named() -> None:
    with pytest.raises(BundleError, match=r"'weight' is missing|'weird' is not expected"):
        check(dump_tensors({"weird": TENSORS["weight"], "count": TENSORS["count"]}))


def test_a_missing_and_an_additional_tensor_are_named() -> None:
    with pytest.raises(BundleError, match="'count' is missing"):
        check(dump_tensors({"weight": TENSORS["weight"]}))
    with pytest.raises(BundleError, match="'more' is not expected"):
        check(dump_tensors({**TENSORS, "more": torch.zeros(1)}))


def test_another_shape_is_told_with_both_shapes() -> None:
    with pytest.raises(BundleError, match=r"expected F32 of shape \[3, 2\], found .* \[2, 3\]"):
        check(dump_tensors({**TENSORS, "weight": torch.zeros(2, 3)}))


def test_another_dtype_is_told_with_both_dtypes() -> None:
    with pytest.raises(BundleError, match=r"expected F32 .* found F64"):
        check(dump_tensors({**TENSORS, "weight": torch.zeros(3, 2, dtype=torch.float64)}))


@pytest.mark.parametrize("place", [0, 500, 998])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_both_ways(
    bad: float, dtype: torch.dtype, place: int
) -> None:
    broken = {"weight": torch.linspace(-1, 1, 999).to(dtype)}
    broken["weight"][place] = bad
    with pytest.raises(BundleError, match="'weight' holds NaN or infinity"):
        dump_tensors(broken)
    with pytest.raises(BundleError, match="'weight' holds NaN or infinity"):
        parse_tensors(safetensors.torch.save(broken))


def test_pickle_bytes_are_refused_and_not_run() -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("the pickle was run",))

    for raw in (pickle.dumps(Trap()), pickle.dumps(TENSORS)):
        with pytest.raises(BundleError):
            check(raw)


def test_a_huge_declared_shape_is_refused_from_the_header_alone() -> None:
    entry = {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}
    count = {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}
    with pytest.raises(BundleError, match="'weight': expected F32"):
        check(file_with({"weight": entry, "count": count}))


def test_a_huge_declared_header_is_refused_unread() -> None:
    with pytest.raises(BundleError, match="header"):
        check((2**62).to_bytes(8, "little") + b"{}")


def test_a_right_header_without_its_bytes_is_refused() -> None:
    raw = dump_tensors(TENSORS)
    for wrong in (raw[:-1], raw + b"x"):
        with pytest.raises(BundleError, match="bytes of tensors"):
            check(wrong)


def test_overlapping_offsets_are_refused() -> None:
    count = {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}
    weight = {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}
    raw = file_with({"weight": weight, "count": count}, bytes(32))
    with pytest.raises(BundleError):
        parse_tensors(raw)


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [2], "data_offsets": [0, 8]},
        {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F4", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [0, 2**39, 2**39], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [2**39] * 9, "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1] * 10**5, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    ],
)
def test_an_entry_that_tells_no_tensor_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="can't be read"):
        parse_tensors(file_with({"weight": entry}, bytes(8)))


def test_a_name_twice_in_the_header_is_refused() -> None:
    entry = b'{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}'
    with pytest.raises(BundleError, match="twice"):
        check(file_with(b'{"weight":' + entry + b',"weight":' + entry + b"}", bytes(24)))


@given(st.binary(max_size=200))
def test_any_bytes_are_either_right_or_a_bundle_error(raw: bytes) -> None:
    with pytest.raises(BundleError):
        check(raw)


@given(st.integers(0, 400), st.integers(1, 255))
def test_any_changed_byte_is_read_or_refused_and_nothing_else(place: int, change: int) -> None:
    raw = bytearray(dump_tensors(TENSORS))
    raw[place % len(raw)] ^= change
    try:
        check(bytes(raw))
        parse_tensors(bytes(raw))
    except BundleError:
        pass
