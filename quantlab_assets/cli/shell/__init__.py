"""What every command shares: options, output, progress. It knows no command and no lake.

What two commands of one group share belongs to the group.
"""
