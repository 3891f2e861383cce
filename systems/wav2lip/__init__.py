"""Wav2Lip: a face from audio, its lip-sync expert and its discriminator."""
