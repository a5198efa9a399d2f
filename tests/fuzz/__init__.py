"""What tenants write, at random, read by Setpoint and by the program that it must agree with: kustomize, kubectl, git.

    make fuzz MINUTES=10 SEED=1

A module for each kind of input has how cases are made, what is compared, and the table of the differences that are meant.
Inputs that once were read differently, and one for each thing worth keeping, are files in `corpus`: they come first in each
run. `test_fuzz` replays them and runs for some seconds in CI.
"""
