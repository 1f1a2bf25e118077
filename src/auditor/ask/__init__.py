"""Asking directly: facts that are not in doubt, the end of a run rebuilt, a ladder of questions, answers coded against the facts.

`facts` says what an episode's answers are held against, `endstate` puts the model where its run ended, `ladder` asks,
`coding` says where an answer stands on each fact, `classes` makes the codebook's class of that.
"""

VERSION = 1
"""Raised when what is sent, or how an answer is coded, can change a class of the same answer to the same questions."""
