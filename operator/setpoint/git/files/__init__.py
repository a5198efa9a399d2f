"""Files of the Git cache, as whoever trusts nobody that writes there opens them."""
