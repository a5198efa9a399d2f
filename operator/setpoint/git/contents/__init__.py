"""Reading what lies in mirrors: commits, their files and what they pin as submodules. It reads what tenants wrote, so none of it may run in a
process that starts others.
"""
