"""Evaluation of trained networks: metrics, confidence intervals, robustness, exported models, plots, reports."""
