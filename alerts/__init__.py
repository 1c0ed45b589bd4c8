"""What an alert is, and how it reaches people."""
