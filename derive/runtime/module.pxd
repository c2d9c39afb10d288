"""What a generated module tells `edge.admit` when it is imported.

    from derive.runtime.module cimport CONVENTION, features, source_hash
    admit(__name__, CONVENTION, source_hash(), __file__, features())

The values are those of the module's own compilation, read from its C macros. CONVENTION is the
calling convention between kernels and the edge: raise it in `module.h` when that changes.
"""

cdef extern from "module.h" nogil:
    enum:
        CONVENTION "LAYERWISE_CONVENTION"
    const char* LAYERWISE_SOURCE_HASH
    const char* layerwise_features()


cdef inline str source_hash():
    """sha256 of the text the module was compiled from; empty where the build did not say."""
    return LAYERWISE_SOURCE_HASH.decode("ascii")


cdef inline str features():
    """The CPU features the module was compiled for, between blanks."""
    return layerwise_features().decode("ascii")
