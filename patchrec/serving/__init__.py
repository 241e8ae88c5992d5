"""A server that keeps runs warm: HTTP in front of the operations. Needs the extra `serve`.

`app` is what answers, `bodies` what may be asked, `served` the runs with their data set, `batching` the one thread that
runs the models, `limits` what is let in, `watching` and `metrics` what is told and counted, `server` the process
around it.
"""
