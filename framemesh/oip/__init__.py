"""The Open Inference Protocol v2. Generated from `protos/framemesh/oip` by `make protos`; don't edit.

The messages are those of the published package `inference`, which protobuf holds once in a process: one that imports
these can't also import NVIDIA's `tritonclient` or KServe's stubs, nor need it.
"""
