"""The seam between the operator, which decides and writes, and the worker, which touches what tenants wrote: the messages, and what is
checked of them. Pure: it knows neither side.
"""
