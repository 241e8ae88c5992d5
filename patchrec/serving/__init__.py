"""A server that keeps a run warm: HTTP in front of the operations. Needs the extra `serve`.

`app` is what answers, `bodies` what may be asked, `served` the run with its data set, `batching` the one thread that
runs the model, `limits` what is let in, `metrics` what is counted, `server` the process around it.
"""
