"""The window: views and their view models. Nothing here imports torch or onnx."""
