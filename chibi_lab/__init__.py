"""Chibi Lab: train a GAN and a VAE that draw chibi avatars, and choose one of your own."""

import os

# Threads that wait for one another would spin, and on a machine with other work that costs most of
# the time: a small training saw 5 to 10 times fewer images. Read once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
