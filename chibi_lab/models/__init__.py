"""The article's four networks: a DCGAN and a convolutional VAE."""

from chibi_lab.models.dcgan import Discriminator, Generator
from chibi_lab.models.vae import Decoder, Encoder, reparametrise

__all__ = ["Decoder", "Discriminator", "Encoder", "Generator", "reparametrise"]
