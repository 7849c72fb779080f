"""`classify-objects optimise`: a variant of a package that is computed in fewer digits, measured on real objects."""
