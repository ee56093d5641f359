#pragma once

#include <string>

#include "chronos/ops/verify/verify.h"

namespace chronos::present {

/// The result as pgBackRest prints it and, below it, what it does not say: every finding. Without
/// `verbose` only what is wrong.
std::string verify_text(const std::string& stanza, const ops::verify::VerifyResult& result,
                        bool verbose);
/// One line of JSON.
std::string verify_json(const std::string& stanza, const ops::verify::VerifyResult& result);

}  // namespace chronos::present
