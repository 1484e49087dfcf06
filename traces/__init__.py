"""Readable Traces: what finetuning leaves in the residual stream, and how to read it."""

__version__ = "0.1.0"
