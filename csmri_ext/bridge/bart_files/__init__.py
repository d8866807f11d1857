"""BART's files: ``.cfl``/``.hdr`` pairs, ``.ra``, the sixteen dimensions, and k-space in them."""
