"""Other packages' programs on this package's kernels. Nothing here is imported by the package."""
