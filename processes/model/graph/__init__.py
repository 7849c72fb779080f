"""The ONNX graph of a network: what goes in and out, where its weights lie, and what is put in front. The only home of
`onnx`."""
