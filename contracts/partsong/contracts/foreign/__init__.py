"""What others wrote and we evaluate: expressions in CEL and JSON Schemas, each within a budget.

A question is cheap if its text, its schema and the values it is asked of bound what it can cost; such a question is
answered where it is asked. Everything else is answered by a process of its own that can be stopped
(`partsong.runtime.evaluation`), and whoever asked goes on when the answer is there: see ADR 16.
"""
