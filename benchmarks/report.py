"""Where the benchmarks put their figures, and on what they were measured."""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def write(name: str, out: Path, figures: dict[str, Any]) -> None:
    """Write figures to a file that is named after what was measured and the machine."""
    program = Path(sys.argv[0]).name
    result = {
        "command": " ".join(["python", f"benchmarks/{program}", *sys.argv[1:]]),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "cpu": dict(torch.cpu.get_capabilities()),
            "torch": torch.__version__,
        },
        **figures,
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{platform.machine()}-{os.cpu_count()}-cores.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")
