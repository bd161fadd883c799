"""Runs at an address, `s3://…` and the like: worked on in a local copy, sent there as it goes."""
