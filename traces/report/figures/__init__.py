"""
Pictures: tidy table in, matplotlib Figure out. One file a picture; `style` and `rows` are shared.

No picture needs a screen, so matplotlib is told before any of them loads it.
"""

import matplotlib

matplotlib.use("Agg")
