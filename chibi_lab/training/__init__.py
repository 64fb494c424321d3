"""Training: configs, the two loops, and the run folders that they leave."""

from chibi_lab.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "config": (
            "GANConfig",
            "ModernConfig",
            "ModernGANConfig",
            "ModernVAEConfig",
            "TrainingConfig",
            "VAEConfig",
        ),
        "drawing": (
            "draw",
            "export_run",
            "has_encoder",
            "latents",
            "load_drawer",
            "load_generator",
            "load_modern_vae",
            "load_vae",
            "reconstruct",
            "sample",
        ),
        "engine": ("Engine",),
        "gan": ("train_gan",),
        "loop": ("TrainingDivergedError",),
        "modern_gan": ("train_modern_gan",),
        "modern_vae": ("train_modern_vae",),
        "restyle": ("restyle",),
        "run": ("Run",),
        "vae": ("train_vae",),
    },
)
