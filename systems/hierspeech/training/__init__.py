"""Training of HierSpeech++ and of the face that its features drive; a module for each stage of ``bench train``."""
