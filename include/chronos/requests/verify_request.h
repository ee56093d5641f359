#pragma once

#include "chronos/config/config.h"
#include "chronos/ops/verify/verify.h"

namespace chronos::requests {

/// What the options ask to be verified.
Result<ops::verify::VerifyRequest> verify_request(const config::Config& config);

}  // namespace chronos::requests
