"""Truth: what is proved about a case, the units in which errors are measured, and the cache that keeps both.

`truth` computes both for the inputs of a case, and `lookup` is how everyone else asks for them; `cache` and `codec`
store them. Units to first order are formulas of one row: `units` for each output and gradient, `row_units` for the rows
of a case, with `curvature` for what second order adds. Where first order says too little there are boxes of what
errors of the inputs can reach: `box` for weights, `mean_box` for means of values, `kink_box` and `kink_hull` for
gradients near and at a kink. `variants` does all of this for mechanisms that users define.
"""
