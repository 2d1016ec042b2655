// BITPROP_CHOOSE(level, name): the object `name` of that level's namespace. Levels that were not compiled are not
// named.
#pragma once

#include "dispatch.h"

#if BITPROP_LEVEL_COUNT > 1
#define BITPROP_CHOOSE(level, name)                             \
    ((level) == ::bitprop::Level::avx512vbmi ? avx512vbmi::name \
     : (level) == ::bitprop::Level::avx512   ? avx512::name     \
     : (level) == ::bitprop::Level::avx2     ? avx2::name       \
                                             : portable::name)
#else
#define BITPROP_CHOOSE(level, name) ((void)(level), portable::name)
#endif
