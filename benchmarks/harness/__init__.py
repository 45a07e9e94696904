"""What every benchmark shares: contenders in processes of their own, a gate before the clock, rounds, reports.

A *suite* (`registry.Suite`, one a file in ``suites/``) belongs to one operation of featdiv. It has *workloads*, each of
which makes its data on the spot, and *contenders*, each of which does the whole job once. For every workload
`session` first lets each contender answer in a fresh process, where its memory is watched; `gate` compares the answer
with a float64 reference; and only those whose answers are as accurate as they claim are timed, in interleaved rounds.
"""
