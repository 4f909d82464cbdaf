"""Cost models of hardware, without training."""
