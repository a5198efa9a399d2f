"""The operator as a pod of a real node: the image that `make image` makes, installed with Helm."""
