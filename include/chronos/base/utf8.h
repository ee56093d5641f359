#pragma once

#include <cstddef>
#include <string_view>

namespace chronos {

/// Length of the well-formed UTF-8 sequence that `text`, which is not empty, begins with; 0 if
/// there is none. As strict as PostgreSQL: no overlong forms, no surrogates, nothing past U+10FFFF.
std::size_t utf8_length(std::string_view text) noexcept;

}  // namespace chronos
