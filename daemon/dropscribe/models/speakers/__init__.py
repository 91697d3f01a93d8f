"""The two small networks that tell speakers apart: where their weights come from and how they become ONNX files."""
