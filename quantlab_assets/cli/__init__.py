"""The `quantlab` command: a folder a group of commands, a module a command or a few of one purpose.

Parsing and printing only: what a command does is a handler's or the lake's. `commands` is the tree,
`session` opens what a command needs, `shell` is what all of them share.
"""
