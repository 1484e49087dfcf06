"""
Check what no single field of a configuration can show: names that must exist, keys that must agree.

Every check takes the study with its registries and the files that hold its keys. It raises
ValueError with one sentence for the first mistake.
"""
