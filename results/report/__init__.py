"""``bench report``: one folder of static pages over a store, for people to look at.

:mod:`build` is the way in. Pages stand without scripts where they can; what scripts add lies in ``assets/``.

``data/NAME.js`` is one call ``bench.load("NAME", {…})`` each. S is a section (a leaderboard, named by a hash of its
group), K the place of a row in it, and clips are numbered in bytewise order of their ids:

- ``index``: sections with columns, rows, cells as texts and numbers, papers' numbers, names of the other files;
  index.html has it inside
- ``scores-S-P``: for the P-th part of the clips their ids, speakers, seconds and transcripts, and by row and column
  their values, by row and protocol their status (0 scored, 1 to do, 2 failed, 3 not asked) and kinds of failure
- ``text-S-K-P``: what recognisers heard of a row's outputs
- ``detail-S-N``: a hundred clips with media, differences by word, loudness and failures of each row; absent is empty
- ``compare-S``: differences, intervals, p-values and wins of every two rows
- ``failures-S``: every failure with its message
"""
