"""In and out: number formats inside PyTorch, and models as files of other tools.

Each module needs a library that lpnet does not: `pip install 'lpnet[interop]'` brings safetensors, onnx and
tensorboardX; PyTorch is taken as it is. Import the one you need: `from lpnet.interop import onnx`.
"""
