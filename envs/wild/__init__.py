"""Generator of unlabelled video of many embodiments; run as `python -m envs.wild`.

The benchmark's arm (Panda), its scenes and its rover are held out of it, and no action is ever written.
"""
