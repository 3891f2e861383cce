"""Training of Talker-T2AV's networks: audio VAE, motion autoencoder, and the joint model."""
