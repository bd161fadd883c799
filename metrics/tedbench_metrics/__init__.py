"""The metrics that come with the suite: one metric, one file. See `metrics/README.md` to add yours."""
