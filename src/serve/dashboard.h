#pragma once

#include <string_view>

namespace chronos::serve {

/// One page with its style and script in it, which ask for /api/status.json. The text "@NONCE@" in
/// it stands for the nonce of the Content-Security-Policy.
std::string_view dashboard_html();

}  // namespace chronos::serve
