"""Faces in pictures, for systems that redraw them: where they are, cut out, put back."""
