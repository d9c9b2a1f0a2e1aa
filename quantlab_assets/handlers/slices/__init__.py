"""Plan, export and list slices.

Which window a call needs and how a slice is graded is `domain.slices`.
"""
