"""Running methods over a data set: what is asked and left, who does it, what is written, and what mends it."""
