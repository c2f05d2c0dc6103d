"""The answering side: what serves others in the protocols they already speak."""
