"""Speed, side by side: each figure is measured in turns with its rival in one run, and checked on the same outputs.

`figure` has what a family of figures declares, `timing` the turns and their ratios, `fitting` the exponents of cost,
`agreement` the checks of outputs, `running` the run, `records` what it leaves. The folder `figures` is a seam.
"""
