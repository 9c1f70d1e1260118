"""Benchmarks: time each figure alternately with a rival in one run, and check the outputs that were timed.

`figure` defines what a family of figures declares, `timing` takes the samples, `power_law` fits the exponents of cost,
`agreement` checks outputs, `runner` runs everything, and `bench_record` holds the results. A module added to the folder
`figures` is found without being registered.
"""
