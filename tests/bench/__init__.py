"""Speed and memory beside baselines, in one run: ``make bench``."""
