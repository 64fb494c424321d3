"""Chibi Lab: train a GAN and a VAE that draw chibi avatars, and choose one of your own."""

__version__ = "0.1.0"
