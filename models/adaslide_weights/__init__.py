"""The released weights: data only. See manifest.toml, and cards/ for where each comes from."""
