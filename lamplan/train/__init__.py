"""Training: encoder and latent action model from video alone, controllers from robot logs."""
