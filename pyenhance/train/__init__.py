"""Training: corpus, mixing, shards, torch network with simulated int8, fit, export. Never imported by the core."""
