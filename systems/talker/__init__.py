"""Talker-T2AV: joint text to speech and face, audio-driven face, and speech for silent video, by one model."""
