"""Zero-shot 3-D anomaly detection with PointAD and PointAD+: the stages of the workflow as functions."""
