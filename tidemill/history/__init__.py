"""The history: what operators look at, in SQL. A projection of the streams, which hold the truth."""
