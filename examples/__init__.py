"""Examples; each runs with `python -m examples.NAME`, and needs no key. Start with release_notes.

release_notes     the demo: a platform, agents, an approval over HTTP, an engine killed with -9, a replay
rag               answers from documents, out of a vector store of one's own
support           triage of customers' messages; larger refunds wait for a person
code_review       three reviewers side by side, and a lead who decides
pipeline          orders in a map, each a saga: what had been done is undone when one fails
scheduled_report  a report at every tick of a schedule, on a platform of its own
plan_and_edit     a model plans, a person edits the plan, two members carry it out
"""
