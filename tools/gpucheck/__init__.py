"""
Is the workflow right and fast on this machine's GPU? `make gpucheck`, or by hand

    python -m tools.gpucheck results/gpu_check.parquet [--quick] [--only NAME ...] [--cpu]

Models are random, of real shape where speed and memory are measured; nothing is downloaded. Needed
are torch, transformers, peft, numpy, pandas, pyarrow and pydantic. docs/gpu.md says what is
measured, what is wanted and how the page is read.
"""
