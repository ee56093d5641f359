#pragma once

#include <string>
#include <string_view>

#include "chronos/base/error.h"

namespace chronos::present {

/// A sentence about options of `recover-table` for who has called chronos.recover_table():
/// "--into names another one" is "into_schema names another one". Options that the function has not
/// stay as they are.
std::string in_words_of_sql(std::string_view text);
/// The same of a message and its hints.
Error in_words_of_sql(const Error& error);

}  // namespace chronos::present
