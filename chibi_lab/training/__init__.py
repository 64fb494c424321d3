"""Training: configs, the two loops, and the run folders that they leave."""

from chibi_lab.training.config import (
    GANConfig,
    ModernConfig,
    ModernGANConfig,
    ModernVAEConfig,
    TrainingConfig,
    VAEConfig,
)
from chibi_lab.training.drawing import (
    draw,
    export_run,
    has_encoder,
    latents,
    load_drawer,
    load_generator,
    load_modern_vae,
    load_vae,
    reconstruct,
    sample,
)
from chibi_lab.training.engine import Engine
from chibi_lab.training.gan import train_gan
from chibi_lab.training.loop import TrainingDivergedError
from chibi_lab.training.modern_gan import train_modern_gan
from chibi_lab.training.modern_vae import train_modern_vae
from chibi_lab.training.restyle import restyle
from chibi_lab.training.run import Run
from chibi_lab.training.vae import train_vae

__all__ = [
    "Engine",
    "GANConfig",
    "ModernConfig",
    "ModernGANConfig",
    "ModernVAEConfig",
    "Run",
    "TrainingConfig",
    "TrainingDivergedError",
    "VAEConfig",
    "draw",
    "export_run",
    "has_encoder",
    "latents",
    "load_drawer",
    "load_generator",
    "load_modern_vae",
    "load_vae",
    "reconstruct",
    "restyle",
    "sample",
    "train_gan",
    "train_modern_gan",
    "train_modern_vae",
    "train_vae",
]
