"""ONNX out: a model in evaluation, its rounding as QuantizeLinear and DequantizeLinear."""

from ._export import export

__all__ = ["export"]
