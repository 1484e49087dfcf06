"""
What no single field of a configuration can tell: names that must be there, and what must agree.

Every check takes the study with its registries and the places where keys stand, and raises
ValueError with one sentence for the first thing that is wrong.
"""
