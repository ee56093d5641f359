#pragma once

#include <string>
#include <string_view>

#include "chronos/base/result.h"

/// The input as an info file with the right checksum, so that a fuzzer gets past it: the parser
/// itself says what the checksum of a text without one would be. "" if it does not get that far.
template <class Value>
std::string resealed(std::string_view body, chronos::Result<Value> (*parse)(std::string_view)) {
    std::string text(body.substr(0, body.find("\n[backrest]\nbackrest-checksum=")));
    const auto unsealed = parse(text);
    if (unsealed) return text;
    const std::string& message = unsealed.error().message();
    constexpr std::string_view kBegin = "invalid checksum, actual '";
    if (!message.starts_with(kBegin)) return {};
    return text + "\n[backrest]\nbackrest-checksum=\"" + message.substr(kBegin.size(), 40) + "\"\n";
}
