"""The run protocol, without I/O: a run is an actor whose journal is its memory.

`records` are what a journal holds, `state` folds them, `tickets` say whether a run may be continued. The
actors (`creation`, `attempt`, `mailman`, `routing`, `closer`, `sweeper`) are procedures: generators that
yield `operations` and are sent their results. The same procedures run on JetStream and in the model checker.
"""
