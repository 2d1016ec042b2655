"""The design to beat: the same network as quantised multiply-accumulate hardware, through the same tools.

``quantised`` trains it (quantisation-aware), ``lower`` turns it into a ``document`` of integers, ``emitter`` writes
that as Verilog with the modules that the folded stochastic designs are made of.
"""
