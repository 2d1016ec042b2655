"""The handoff: a folder that stands on its own, and the audit that checks every byte of it.

:mod:`~bitprop.handoff.export` writes a network's folder, :mod:`~bitprop.handoff.evidence` the evidence set of the
reference task, :mod:`~bitprop.handoff.simulate` runs a folder's Verilog, :mod:`~bitprop.handoff.audit` checks both.
"""
