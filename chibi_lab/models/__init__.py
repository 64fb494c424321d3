"""The article's four networks, a DCGAN and a convolutional VAE, and their modern forms."""

from chibi_lab.models.conditions import OPEN, Wishes
from chibi_lab.models.dcgan import Discriminator, Generator
from chibi_lab.models.modern_gan import ModernDiscriminator, ModernGenerator
from chibi_lab.models.modern_vae import ModernVAE
from chibi_lab.models.vae import Decoder, Encoder, reparametrise

__all__ = [
    "OPEN",
    "Decoder",
    "Discriminator",
    "Encoder",
    "Generator",
    "ModernDiscriminator",
    "ModernGenerator",
    "ModernVAE",
    "Wishes",
    "reparametrise",
]
