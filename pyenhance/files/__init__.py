"""Audio files: what can be read and written, headers, tags, and results that appear whole or not at all."""

from .denoise import denoise_file, read_audio
from .formats import SUFFIXES

__all__ = ["SUFFIXES", "denoise_file", "read_audio"]
