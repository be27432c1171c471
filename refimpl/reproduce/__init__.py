"""The experiments of the papers on L2HMC and LeapfrogLayers as functions that return tables, and draw their figures."""
