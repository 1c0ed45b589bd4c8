"""Receivers to copy from, the same in FastAPI, Flask and Django: receive, verify, enqueue, answer.

They use only what a receiver needs of callwatch. `docker compose up` runs the one in FastAPI, and
the tests run all three on real servers.
"""
