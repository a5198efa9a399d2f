"""The custom resources and the words around them: models of Source and Sync, names of labels and annotations, reasons, formats of
revisions, durations and times. The one truth that `codegen` works from. Decides nothing, and imports nothing of ours.
"""
