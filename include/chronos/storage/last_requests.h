#pragma once

#include "chronos/http/client.h"

namespace chronos::storage {

/// For what a distant storage is asked in the end, when a request to stop has been made already.
using http::LastRequests;

}  // namespace chronos::storage
