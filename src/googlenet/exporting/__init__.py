"""A network becomes an ONNX graph and the files of a bundle; export formats; quantisation."""
