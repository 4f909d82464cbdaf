"""What the chapters conclude from their runs, one module a chapter: summaries, tests, claims.

A chapter tells the story, a study does its arithmetic: from the runs' tidy table to the tables and
predicates that the page shows.
"""
