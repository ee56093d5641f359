#pragma once

// The API of this release of libfuse3; the first that Debian 12 has.
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse3/fuse_lowlevel.h>
