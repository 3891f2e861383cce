"""The talking face of the shared-latent model: windows of speech features, generator, discriminator and losses."""
