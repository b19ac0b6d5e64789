"""Networks out: an ONNX graph, the files of a bundle, formats for other programs, 8 bits."""
