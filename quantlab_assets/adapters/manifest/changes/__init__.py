"""All that changes what the manifest says of artifacts; each rule stands in one file.

`succession` says who is active and who superseded, `heads` what a partition consists of, `insert`
how each thing is written down. Publishing (`publish_batch`), `transitions`, rebuilding and bundle
imports all go through these three. Reading is not here, nor is the ledger of experiments.
"""
