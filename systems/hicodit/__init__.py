"""HiCoDiT: speech from silent video by hierarchical masked diffusion over codec tokens (arXiv 2604.15923)."""
