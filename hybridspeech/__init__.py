"""hybridspeech: folders of recorded words in, a trained and exported word classifier out.

The verbs are functions of the modules of the same name (``hybridspeech.preprocess.preprocess``,
``hybridspeech.train.train``, ...) and commands of the same name. This package imports nothing heavy.
"""

__version__ = "0.1.0"
