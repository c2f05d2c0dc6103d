"""What this wire calls things."""

from __future__ import annotations

NAME = "openai-chat"
VENDOR = "openai"

AUDIO = {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg", "audio/aac": "aac"}
"""``input_audio.format`` by media type."""
AUDIO_TYPES = {name: kind for kind, name in AUDIO.items()}

AS_THEY_ARE = (
    *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "seed"),
    *("logit_bias", "n", "verbosity", "metadata", "user", "service_tier", "store"),
)
"""Fields of an ask that have the same name and shape here."""
