"""Networks, the features as a layer, and the forms in which a network is exported."""
