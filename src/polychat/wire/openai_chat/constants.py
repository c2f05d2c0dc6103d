"""Constants of this wire."""

from __future__ import annotations

NAME = "openai-chat"
VENDOR = "openai"

AUDIO = {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg", "audio/aac": "aac"}
"""``input_audio.format`` by media type."""
AUDIO_TYPES = {name: kind for kind, name in AUDIO.items()}
