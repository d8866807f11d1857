"""What a command asks of the machine: a GPU."""

from __future__ import annotations

from csmri_ext.errors import InputError


def require_gpus(device: str, count: int) -> None:
    """Refuse more GPUs than this machine has.

    Raises
    ------
    InputError
        Says how many there are.
    """
    if device == "cuda":
        import torch

        if count > torch.cuda.device_count():
            raise InputError(f"--devices {count}: this machine has {torch.cuda.device_count()} GPUs that torch can use")


def checked_device(name: str) -> str:
    """Return the device where it can be used; of ``auto``, which it is.

    Raises
    ------
    InputError
        If ``cuda`` is asked for and torch sees no GPU.
    """
    if name != "cpu":
        import torch

        if name == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if not torch.cuda.is_available():
            build = "no GPU is visible" if torch.version.cuda else "this torch is a CPU build"
            raise InputError(f"--device cuda: {build}; use --device cpu (csmri doctor shows the configuration)")
    return name
