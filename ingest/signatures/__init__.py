"""Verify a callback: one small file for each family of signature schemes."""
