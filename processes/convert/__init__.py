"""Networks of Keras and PyTorch, made ONNX: what runs in the environment `.venv/convert`, and nowhere else.

The service and the command line never import this room, but for `kinds`; they start it as a process. It imports nothing
of the others but `errors`, so that its environment has none of their libraries. Frameworks are imported by the modules
that are named after them alone.
"""
