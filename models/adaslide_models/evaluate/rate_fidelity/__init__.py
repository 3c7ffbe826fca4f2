"""`adaslide evaluate rate-fidelity`: bytes against measured fidelity, ours beside every uniform codec."""
