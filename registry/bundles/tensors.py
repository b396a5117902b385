"""Stored weights: written as safetensors, compared with what is expected before they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeGuard

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from registry.bundles.strict_json import parse_strict_json
from registry.errors import BundleError

_MAX_HEADER_BYTES = 8 * 2**20
_PREFIX_BYTES = 8
_MOST = 2**40
"""Sizes and offsets are below this."""

_MOST_DIMENSIONS = 64  # as many as torch has
_DTYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_BY_NAME = {name: dtype for dtype, name in _DTYPES.items()}


def dump_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a safetensors file with these tensors, on any device.

    Raises:
        BundleError: if a tensor holds NaN or infinity.
    """
    plain = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    _require_finite(plain)
    raw: bytes = safetensors.torch.save(plain)
    return raw


def require_layout(file: BinaryIO, size_bytes: int, expected: Mapping[str, Tensor]) -> None:
    """Compare a safetensors file's header with the tensors that should be in it.

    Only the header is read: what doesn't fit is refused before memory is taken for it.

    Args:
        file: open at its beginning.
        size_bytes: the file's size.
        expected: name to a tensor of the right shape and dtype, usually on ``meta``.

    Raises:
        BundleError: with the first name, shape, dtype or size that differs.
    """
    prefix = file.read(_PREFIX_BYTES)
    header_bytes = int.from_bytes(prefix, "little")
    room = min(_MAX_HEADER_BYTES, size_bytes - _PREFIX_BYTES)
    if len(prefix) < _PREFIX_BYTES or header_bytes > room:
        raise BundleError(
            "the weights are not a safetensors file: expected a header of at most "
            f"{max(room, 0)} bytes, found a claim of {header_bytes}"
        )
    found = _entries(file.read(header_bytes))
    for name in sorted(found.keys() ^ expected.keys()):
        side = "is missing from" if name in expected else "is not expected in"
        raise BundleError(f"tensor {name!r} {side} the weights")
    for name, tensor in expected.items():
        wanted = (_DTYPES.get(tensor.dtype), list(tensor.shape))
        if (found[name].get("dtype"), found[name].get("shape")) != wanted:
            raise BundleError(
                f"tensor {name!r}: expected {wanted[0]} of shape {wanted[1]}, found "
                f"{found[name].get('dtype')} of shape {str(found[name].get('shape'))[:100]}"
            )
    payload = _payload_bytes(expected)
    if _PREFIX_BYTES + header_bytes + payload != size_bytes:
        raise BundleError(
            f"expected {payload} bytes of tensors, found "
            f"{size_bytes - _PREFIX_BYTES - header_bytes}"
        )


def most_bytes(expected: Mapping[str, Tensor]) -> int:
    """How many bytes a safetensors file with these tensors has at most, whatever its header.

    Args:
        expected: as `require_layout` takes it.
    """
    return _PREFIX_BYTES + _MAX_HEADER_BYTES + _payload_bytes(expected)


def parse_tensors(raw: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose layout was checked, on the CPU, in copies.

    Not by ``safetensors.torch.load``, which copies all of it in one step in which no other thread
    of Python runs, and a service answers nobody: 204 ms for 250 MiB on an AMD EPYC, here 8.

    Raises:
        BundleError: if the file is broken, or a tensor holds NaN or infinity.
    """
    start = _PREFIX_BYTES + int.from_bytes(raw[:_PREFIX_BYTES], "little")
    if start > len(raw):
        raise BundleError("the weights can't be read: their header is cut off")
    tensors, end = {}, start
    for name, entry in sorted(_entries(raw[_PREFIX_BYTES:start]).items(), key=_begin):
        dtype, shape = _BY_NAME.get(str(entry.get("dtype"))), entry.get("shape")
        offsets = entry.get("data_offsets")
        if dtype is None or not _are_sizes(shape) or not _are_sizes(offsets):
            raise BundleError(f"the weights can't be read: tensor {name!r} is no tensor")
        size = math.prod(shape) * dtype.itemsize
        if [start + one for one in offsets] != [end, end + size] or end + size > len(raw):
            raise BundleError(f"the weights can't be read: tensor {name!r} is not where it belongs")
        try:
            tensors[name] = torch.empty(shape, dtype=dtype)
        except RuntimeError as error:  # sizes beside a 0 may be any
            raise BundleError(f"the weights can't be read: tensor {name!r}: {error}") from error
        if size:
            stored = np.frombuffer(raw, np.uint8, size, offset=end)
            np.copyto(tensors[name].reshape(-1).view(torch.uint8).numpy(), stored)
        end += size
    if end != len(raw):
        raise BundleError(f"the weights can't be read: {len(raw) - end} bytes belong to no tensor")
    _require_finite(tensors)
    return tensors


def _begin(entry: tuple[str, dict[str, Any]]) -> list[int]:
    """What to sort entries by: an empty tensor begins where the next one does."""
    offsets = entry[1].get("data_offsets")
    return offsets if _are_sizes(offsets) else []


def _are_sizes(found: object) -> TypeGuard[list[int]]:
    """Whether something is a shape, or two offsets."""
    if not isinstance(found, list) or len(found) > _MOST_DIMENSIONS:
        return False
    return all(type(one) is int and 0 <= one < _MOST for one in found)


def _payload_bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(math.prod(t.shape) * t.element_size() for t in tensors.values())


def _entries(header: bytes) -> dict[str, dict[str, Any]]:
    parsed = parse_strict_json(header, "the header of the weights")
    if not isinstance(parsed, dict) or not all(isinstance(v, dict) for v in parsed.values()):
        raise BundleError("the weights are not a safetensors file: their header is no table")
    parsed.pop("__metadata__", None)
    return parsed


def _require_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() and tensor.numel()):
            continue
        # NaN passes through to both: less work than asking after every number.
        if not all(bool(torch.isfinite(end)) for end in tensor.aminmax()):
            raise BundleError(f"tensor {name!r} holds NaN or infinity; the model is broken")
