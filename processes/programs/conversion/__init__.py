"""`classify-objects convert`: a package of Keras or PyTorch becomes one of ONNX, proven against its framework."""
