"""Networks, training and evaluation: the only place where torch is imported."""
