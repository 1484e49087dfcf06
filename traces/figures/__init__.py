"""Pictures: tidy table in, matplotlib Figure out. One file a picture; `style` is shared."""
