"""The custom resources and their vocabulary: models of Source and Sync, labels and annotations, reasons, formats. `codegen` generates
from it. It decides nothing, and imports no other package of ours.
"""
