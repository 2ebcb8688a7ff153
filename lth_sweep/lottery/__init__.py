"""One trial. Needs torch, numpy, safetensors and the standard library alone."""
