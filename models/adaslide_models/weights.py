"""Trained weights as files: safetensors to train on from, ONNX to serve. Nothing is ever unpickled."""

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save_file
from torch import nn

from adaslide.adapters.inference.onnx import verified
from adaslide.adapters.inference.weights import Weights
from adaslide.domain.errors import WeightsMissing

OPSET = 18


def sha256(path: Path) -> str:
    """Hexadecimal, as manifests write it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_trained(weights: Weights) -> dict[str, torch.Tensor]:
    """The safetensors beside an installed weight. Raises `WeightsMissing` and `DigestMismatch`."""
    try:
        path = weights.path.with_name(weights.table["safetensors"])
        digest = bytes.fromhex(weights.table["safetensors_sha256"])
    except KeyError as error:
        raise WeightsMissing(f"the weights {weights.name} come without safetensors") from error
    return load(verified(path, digest))


def save_trained(net: nn.Module, path: Path) -> None:
    """fp32 safetensors of ``net``."""
    save_file({name: value.detach().contiguous() for name, value in net.state_dict().items()}, path)


def export_onnx(net: nn.Module, channels: int, multiple: int, path: Path) -> None:
    """``net`` as one fp32 ONNX file: input ``x`` (batch, channels, height, width), output ``y``.

    Batch, height and width are free; the sides are multiples of ``multiple``.
    """
    example = torch.zeros(2, channels, 8 * multiple, 12 * multiple)
    free = {
        0: torch.export.Dim("batch", min=1),
        2: multiple * torch.export.Dim("rows", min=1),
        3: multiple * torch.export.Dim("columns", min=1),
    }
    _export(net, example, free, path)


def export_vector_onnx(net: nn.Module, size: int, path: Path) -> None:
    """The same for a net that takes (batch, size)."""
    _export(net, torch.zeros(2, size), {0: torch.export.Dim("batch", min=1)}, path)


def _export(net: nn.Module, example: torch.Tensor, free: dict[int, Any], path: Path) -> None:
    # The exporter reports every operator it does not need as missing.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net.eval().float(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes=(free,),
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    # Names of files and lines of whoever exported: they would make the digest depend on the machine.
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]
    del graph.graph.metadata_props[:]
    path.write_bytes(graph.SerializeToString())
