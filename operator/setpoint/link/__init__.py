"""The connection between operator and worker: sockets and who is at their other end, calls, and what the end of one side means.

What is said on it is in `wall`. The worker listens, and the operator dials. One call never waits for another: answers come in any order, in
frames that take turns, and of each call only so much is under way as its reader has room for.

What breaks the frames ends the connection. What is wrong inside a message ends its call alone: its content comes from one tenant's files, and
nobody else's calls may end by them.
"""
