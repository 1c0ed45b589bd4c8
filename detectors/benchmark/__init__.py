"""Simulated fleets of senders, labelled days, and how alerts are judged against them."""
