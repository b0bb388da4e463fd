"""Networks, the features as a Keras model, export formats, and quantisation."""
