"""Shipped int8 models, each with its model card."""
