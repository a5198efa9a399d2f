"""The files of one commit, by path, whoever brought them: the seam between `git` (later `oci`) and `render`. Pure, but for a local folder."""
