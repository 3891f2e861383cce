"""HierSpeech++: text to wav2vec features and pitch, features to speech, and a face driven by the same features."""
