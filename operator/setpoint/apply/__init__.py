"""Acts on behalf of one Sync: dry runs, server-side apply stage by stage, deletion step by step. Decides nothing that `plan` could decide."""
