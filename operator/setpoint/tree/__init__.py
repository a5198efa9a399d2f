"""The files of one commit, by path: the seam between `git` (later also `oci`) and `render`. Pure, except for the local folder."""
