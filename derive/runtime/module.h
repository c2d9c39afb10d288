/* What a generated module says of its own build. */
#ifndef LAYERWISE_MODULE_H
#define LAYERWISE_MODULE_H

#include "cpu.h"

enum { LAYERWISE_CONVENTION = 1 };

/* sha256 of the module's .pyx, a string literal given by the build. */
#ifndef LAYERWISE_SOURCE_HASH
#define LAYERWISE_SOURCE_HASH ""
#endif

#endif
