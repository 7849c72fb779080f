"""Networks in PyTorch's own files, read as data and rebuilt as ONNX, without PyTorch."""
