"""How far readers agree: raw agreement, weighted kappa, Krippendorff's alpha and intraclass correlation.

`coefficients` computes them from sums over patients, `bootstrap` puts patient-clustered intervals on them,
`summary` makes one table of both for several readers and criteria, `long_table` reads such ratings from a CSV file.
"""
