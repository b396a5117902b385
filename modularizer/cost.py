"""What a network costs, counted."""

from __future__ import annotations

import logging
import warnings

import torch
from torch import nn

from modularizer.classifier import inference
from modularizer.devices import device_of
from modularizer.preprocessing import Preprocessing
from modularizer.records import Cost


def count_cost(network: nn.Module, preprocessing: Preprocessing) -> Cost:
    """Count kernels, parameters and multiply-adds of a network.

    Multiply-adds are fvcore's count for one image: convolutions, matrix products, norms,
    interpolation and adaptive pools. It says nothing of memory traffic or time.

    Args:
        network: prepared float (N, channels, height, width) to scores; left as it is.
        preprocessing: gives the size of its input.
    """
    with warnings.catch_warnings(), inference(network):
        warnings.simplefilter("ignore")  # fvcore imports torch.jit, which warns that it will go
        from fvcore.nn import FlopCountAnalysis

        image = torch.zeros(1, preprocessing.channels, *preprocessing.size)
        counter = FlopCountAnalysis(network, image.to(device_of(network)))
        logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        multiply_adds = int(counter.total())
    return Cost(
        kernels=sum(m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)),
        parameters=sum(p.numel() for p in network.parameters()),
        multiply_adds=multiply_adds,
    )
