"""The networks. They know tensors only: no file format, no robot, no search."""
