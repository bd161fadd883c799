"""The user study, two-alternative forced choice: from runs to pairs, to answers, to a preference table.

`building` makes a folder: study.lock, public/ (what raters see), key/ (what they must not). `serving` and `static` have
it answered; `database` and CSV files keep what was said. `analysing` makes exclusions, preference rates, strengths and
agreement of it, each with an interval.
"""
