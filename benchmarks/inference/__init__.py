"""Time and memory of a weak model beside the same with patches, without a service around them.

It imports torch, torchvision, numpy and pydantic alone, so that it runs on a machine with a GPU
where no more is installed: ``python -m benchmarks.inference --device cuda --out FILE``.
"""
