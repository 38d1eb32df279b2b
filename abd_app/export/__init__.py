"""What an audit leaves behind: the student as ONNX and safetensors, the curves, the report.

Everything is imported from its module (``abd_app.export.report`` and so on); importing this package costs nothing.
"""
