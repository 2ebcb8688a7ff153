"""One trial. Needs torch, numpy and the standard library alone."""
