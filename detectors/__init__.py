"""Per-sender baselines, the detectors that use them, and the engines that run them."""
