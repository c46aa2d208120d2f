"""From recorded drives to weights: episodes, autoencoder, flow matching, heads."""
