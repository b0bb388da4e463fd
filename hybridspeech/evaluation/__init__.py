"""What can be said of a trained network: metrics, robustness, measured exports, plots."""
