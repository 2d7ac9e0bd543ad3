"""Sound that is more than one stream of 48 kHz: arrays and files of any rate and channel count."""

from .channels import AudioStream, enhance
from .files import denoise_file, read_audio

__all__ = ["AudioStream", "denoise_file", "enhance", "read_audio"]
